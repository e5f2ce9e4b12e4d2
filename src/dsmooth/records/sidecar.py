"""One label per sample, packed: the votes behind the counts, so that a random part of them can be replayed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.files import WholeFile, make_folder, read_bounded

__all__ = ["FORMAT", "SidecarWriter", "VotePacker", "read_packed", "read_sidecar", "unpack_votes"]

FORMAT = "zlib-u16"
"""Two bytes a sample, little-endian, in order of samples, phase after phase, then zlib. 0 is a missing vote, and
1 + i the i-th of the labels that the record lists."""

_MOST_LABELS = (1 << 16) - 1
_MOST_PACKED: Final = 1032
"""Bytes that one byte of a zlib stream can stand for, at most: 258 for every two bits (RFC 1951, 3.2.5)."""


class VotePacker:
    """Packs the labels of one image as they come; memory does not grow with their number."""

    def __init__(self) -> None:
        self._zip = zlib.compressobj(6)
        self._hash = hashlib.sha256()
        self._codes: dict[int | str, int] = {}
        self.count = 0

    def add(self, labels: Sequence[int | str | None]) -> bytes:
        """The next samples' labels (None is a missing vote), and the bytes that are ready by then.

        Raises BadRun for more different labels than the format can tell apart.
        """
        codes = np.empty(len(labels), dtype="<u2")
        for i, label in enumerate(labels):
            code = 0 if label is None else self._codes.setdefault(label, len(self._codes) + 1)
            if code > _MOST_LABELS:
                raise BadRun(f"expected at most {_MOST_LABELS} different labels for an image, got more")
            codes[i] = code
        self.count += len(labels)
        return self._hashed(self._zip.compress(codes.tobytes()))

    def finish(self) -> bytes:
        """The last bytes: no label follows."""
        return self._hashed(self._zip.flush())

    def entry(self, file: str) -> dict[str, Any]:
        """What a record says of the finished bytes, which lie in a file of this name."""
        return {"file": file, "format": FORMAT, "labels": list(self._codes), "sha256": self._hash.hexdigest()}

    def _hashed(self, data: bytes) -> bytes:
        self._hash.update(data)
        return data


class SidecarWriter:
    """Writes the labels of one image as they come, to RUN/votes/NAME; memory does not grow with their number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        folder = path.parent.parent
        make_folder(path.parent, inside=folder)
        self._file = WholeFile(path, inside=folder, temporary=f".{path.name}")
        self._packer = VotePacker()

    @property
    def count(self) -> int:
        """Labels so far."""
        return self._packer.count

    def add(self, labels: Sequence[int | str | None]) -> None:
        """The next samples' labels; None is a missing vote."""
        try:
            self._file.write(self._packer.add(labels))
        except BadRun as error:
            raise BadRun(f"{self.path}: {error}") from None

    def close(self) -> dict[str, Any]:
        """The file is on disk; what the record says of it."""
        self._file.write(self._packer.finish())
        self._file.keep()
        return self._packer.entry(f"{self.path.parent.name}/{self.path.name}")

    def abandon(self) -> None:
        """Nothing is left of an image that was not finished."""
        self._file.discard()


def read_sidecar(folder: Path, entry: dict[str, Any], samples: int) -> Iterator[int | str | None]:
    """The labels of `samples` samples; raises BadRun where the file is not the one that the record names."""
    return unpack_votes(read_packed(folder, entry, samples), entry, samples)


def read_packed(folder: Path, entry: dict[str, Any], samples: int) -> bytes:
    """The file's bytes, as they are; raises BadRun where it cannot be read, lies outside the folder, or is too large.

    zlib adds a few bytes, and one in 3,000, to what it cannot shorten: fewer than is allowed here.
    """
    steps = PurePosixPath(str(entry["file"])).parts
    path = folder / str(entry["file"])
    if len(steps) != 2 or path.parent.parent != folder:
        raise BadRun(f"{path}: expected a file of votes within the run")
    try:
        return read_bounded(path, 2 * samples + samples // 1000 + 64, inside=folder)
    except OSError as error:
        raise BadRun(f"{path}: expected the votes behind a record, cannot read them ({error.strerror})") from error


def unpack_votes(data: bytes, entry: dict[str, Any], samples: int) -> Iterator[int | str | None]:
    """The labels in a file's bytes; raises BadRun (Disproved where the digest differs) unless they are `samples` labels."""
    name = entry["file"]
    if entry["format"] != FORMAT:
        raise BadRun(f"{name}: expected votes in the format {FORMAT}, got {entry['format']!r}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise Disproved(f"{name}: expected the votes that the record names by SHA-256, got other bytes")
    if 2 * samples > _MOST_PACKED * len(data):
        raise Disproved(f"{name}: expected {samples:,} votes, and {len(data):,} bytes cannot hold so many")
    try:
        codes = np.frombuffer(zlib.decompressobj().decompress(data, 2 * samples + 1), dtype="<u2")
    except (zlib.error, ValueError) as error:
        raise BadRun(f"{name}: cannot be unpacked ({error})") from error
    labels = [None, *entry["labels"]]
    if len(codes) != samples or int(codes.max(initial=0)) >= len(labels):
        raise Disproved(f"{name}: expected {samples} votes for {len(labels) - 1} labels, got {len(codes)}")
    return (labels[code] for code in codes)
