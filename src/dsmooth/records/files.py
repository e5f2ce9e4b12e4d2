"""Files that are read within bounds and written all or nothing; those of a run never through a symbolic link.

A run folder may come from anybody. With `inside`, the folder of a run, every step from there to the file is taken without
following a link; data sets, caches and the run folder itself may be links. Whatever is in the way raises OSError.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

__all__ = [
    "SMALL", "TEXT", "WholeFile", "bounded_lines", "make_folder", "open_to_append", "open_to_read", "read_bounded",
    "write_whole",
]  # fmt: skip

SMALL: Final = 1 << 12
"""Most bytes of a file that holds a key and little else."""
TEXT: Final = 16 << 20
"""Most bytes of a description that people write or read, and of one line of a record or log."""

# a pipe would wait for its other side: it is opened without waiting, then refused
_READ: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


def open_to_read(path: Path, *, inside: Path | None = None) -> IO[bytes]:
    """The file, which is no folder, device or pipe."""
    return _opened(path, _READ, "rb", inside)


def open_to_append(path: Path, *, inside: Path, buffering: int = -1) -> IO[bytes]:
    """The file, made where there is none; what is written is added to its end."""
    return _opened(path, _APPEND, "ab", inside, buffering)


def read_bounded(path: Path, most: int, *, inside: Path | None = None) -> bytes:
    """All bytes of the file, which are at most `most`: more are refused before they are read."""
    with open_to_read(path, inside=inside) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"expected at most {most:,} bytes, got {max(size, len(content)):,}", str(path))
    return content


def bounded_lines(file: IO[bytes], most: int = TEXT) -> Iterator[bytes]:
    """The lines of a file, one at a time and with their ends; raises ValueError at one of more than `most` bytes."""
    while line := file.readline(most + 1):
        if len(line) > most:
            raise ValueError(f"expected lines of at most {most:,} bytes, got a longer one")
        yield line


def write_whole(
    path: Path, content: bytes | str | Iterator[str] | Iterator[bytes], *, mode: int = 0o666, inside: Path | None = None
) -> None:
    """The file holds this content (text as UTF-8), or is as it was and nothing lies beside it; on disk on return.

    It can come piece by piece.
    """
    file = WholeFile(path, mode=mode, inside=inside)
    try:
        for piece in [content] if isinstance(content, bytes | str) else content:
            file.write(piece.encode() if isinstance(piece, str) else piece)
        file.keep()
    except BaseException:
        file.discard()
        raise


class WholeFile:
    """A file that is written piece by piece, and gets its name when it is whole: what had the name before is untouched.

    Until then it lies beside, as `temporary`; who writes there alone may choose that name, so that what a crash leaves is
    overwritten.
    """

    def __init__(
        self, path: Path, *, mode: int = 0o666, inside: Path | None = None, temporary: str | None = None
    ) -> None:
        self.path, self._inside = path, inside
        self._temporary = path.with_name(temporary or f".{path.name}.{os.getpid()}")
        with _place(path, inside) as (name, at):
            if inside is not None and _is_link(name, at):
                raise _link(path)
        with _place(self._temporary, inside) as (name, at):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=at)
            self._file = os.fdopen(os.open(name, _CREATE, mode, dir_fd=at), "wb")

    def write(self, content: bytes) -> None:
        self._file.write(content)

    def keep(self) -> None:
        """The file is on disk, under its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        with _place(self._temporary, self._inside) as (old, at), _place(self.path, self._inside) as (new, there):
            os.replace(old, new, src_dir_fd=at, dst_dir_fd=there)

    def discard(self) -> None:
        """Nothing of it remains."""
        with suppress(OSError):
            self._file.close()  # a full disk complains a second time
        with suppress(FileNotFoundError), _place(self._temporary, self._inside) as (name, at):
            os.unlink(name, dir_fd=at)


def make_folder(path: Path, *, inside: Path) -> None:
    """The folder is there, and is no link."""
    with _place(path, inside) as (name, at):
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=at)
        if _is_link(name, at):
            raise _link(path)


def _opened(path: Path, flags: int, mode: str, inside: Path | None, buffering: int = -1) -> IO[bytes]:
    with _place(path, inside) as (name, at):
        if inside is not None and _is_link(name, at):
            raise _link(path)
        nofollow = 0 if inside is None else getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(name, flags | nofollow, 0o666, dir_fd=at)
        except ValueError as error:  # a NUL in the name
            raise OSError(errno.EINVAL, str(error), str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "expected a file, got a folder, device or pipe", str(path))
    if flags == _APPEND and os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise OSError(
            errno.EMLINK, "it is also a file elsewhere (hard link): copy the run, and use the copy", str(path)
        )
    return os.fdopen(descriptor, mode, buffering)


@contextmanager
def _place(path: Path, inside: Path | None) -> Iterator[tuple[str, int | None]]:
    """What to call the file, and a descriptor of the folder that it lies in, reached from `inside` through no link."""
    if inside is None:
        yield str(path), None
        return
    steps = path.parent.relative_to(inside).parts
    if ".." in (*steps, path.name):
        raise OSError(errno.EINVAL, "expected a file within the run", str(path))
    if os.open not in os.supports_dir_fd:  # Windows: what can be had without descriptors of folders
        reached = [inside.joinpath(*steps[: i + 1]) for i in range(len(steps))]
        if any(folder.is_symlink() for folder in reached):
            raise _link(path)
        yield str(path), None
        return
    at = os.open(inside, _FOLDER)
    try:
        for step in steps:
            if _is_link(step, at):
                raise _link(path)
            deeper = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = deeper
        yield path.name, at
    finally:
        os.close(at)


def _is_link(name: str, at: int | None) -> bool:
    """For the message only, where there are descriptors: they are opened without following links as well."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
    except (FileNotFoundError, ValueError):
        return False


def _link(path: Path) -> OSError:
    return OSError(errno.ELOOP, "symbolic links within a run are not followed", str(path))
