"""Folders that results go to: found to be writable before any work is done for them, and gone again where none was."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dsmooth.errors import BadRun

__all__ = ["check_writable", "claimed"]


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Inside, the folder exists and can be written to; afterwards it and the folders made for it are gone where empty.

    Raises BadRun where it cannot be made, or cannot be written to.
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # permissions do not tell: root has all, /proc takes no files
                pass
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise BadRun(f"{folder}: cannot be written ({why})") from error
        yield
    finally:
        for path in missing:
            with contextlib.suppress(OSError, ValueError):  # there is something in it, or it was never made
                path.rmdir()


def check_writable(folder: Path) -> None:
    """Raises BadRun where results could not be written to this folder, which need not exist; leaves nothing behind."""
    with claimed(folder):
        pass
