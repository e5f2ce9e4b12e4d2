"""One label per sample, packed: the votes behind the counts, so that a random part of them can be replayed."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsmooth.errors import BadRun

__all__ = ["FORMAT", "SidecarWriter", "read_sidecar"]

FORMAT = "zlib-u16"
"""Two bytes a sample, little-endian, in order of samples, phase after phase, then zlib. 0 is a missing vote, and
1 + i the i-th of the labels that the record lists."""

_MOST_LABELS = (1 << 16) - 1


class SidecarWriter:
    """Writes the labels of one image as they come; memory does not grow with their number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(exist_ok=True)
        self._file = path.open("wb")
        self._zip = zlib.compressobj(6)
        self._hash = hashlib.sha256()
        self._codes: dict[int | str, int] = {}

    def add(self, labels: Sequence[int | str | None]) -> None:
        """The next samples' labels; None is a missing vote."""
        codes = np.empty(len(labels), dtype="<u2")
        for i, label in enumerate(labels):
            code = 0 if label is None else self._codes.setdefault(label, len(self._codes) + 1)
            if code > _MOST_LABELS:
                raise BadRun(f"{self.path}: expected at most {_MOST_LABELS} different labels for an image, got more")
            codes[i] = code
        self._write(self._zip.compress(codes.tobytes()))

    def close(self) -> dict[str, Any]:
        """The file is on disk; what the record says of it."""
        self._write(self._zip.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {
            "file": f"{self.path.parent.name}/{self.path.name}",
            "format": FORMAT,
            "labels": list(self._codes),
            "sha256": self._hash.hexdigest(),
        }

    def abandon(self) -> None:
        """Nothing is left of an image that was not finished."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)


def read_sidecar(folder: Path, entry: dict[str, Any], samples: int) -> Iterator[int | str | None]:
    """The labels of `samples` samples; raises BadRun where the file is not the one that the record names."""
    path = folder / entry["file"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadRun(f"{path}: expected the votes behind a record, cannot read them ({error.strerror})") from error
    if entry["format"] != FORMAT or hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise BadRun(f"{path}: expected the votes that the record names ({FORMAT}, by SHA-256), got other bytes")
    unzip = zlib.decompressobj()
    try:
        codes = np.frombuffer(unzip.decompress(data, 2 * samples + 1), dtype="<u2")
    except (zlib.error, ValueError) as error:
        raise BadRun(f"{path}: cannot be unpacked ({error})") from error
    labels = [None, *entry["labels"]]
    if len(codes) != samples or int(codes.max(initial=0)) >= len(labels):
        raise BadRun(f"{path}: expected {samples} votes for {len(labels) - 1} labels, got {len(codes)}")
    return (labels[code] for code in codes)
