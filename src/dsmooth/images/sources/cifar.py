"""The binary version of CIFAR-10: records of a label and 3 x 32 x 32 bytes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from dsmooth.errors import BadImage
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import ImageSet, LabelledImage, image_set
from dsmooth.images.sources.base import Reading

__all__ = ["Cifar"]

_SIDE, _RECORD = 32, 3073
_TRAINING = [f"data_batch_{i}.bin" for i in range(1, 6)]


class Cifar:
    """A folder (its test images, or those of its five training batches) or one .bin file."""

    holds_arrays: ClassVar[bool] = True

    @staticmethod
    def recognises(path: Path) -> bool:
        return bool(list(path.glob("*.bin"))) if path.is_dir() else path.suffix == ".bin"

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        chosen = _TRAINING if reading.training else ["test_batch.bin"]
        paths = [path / name for name in chosen] if path.is_dir() else [path]
        records = np.concatenate([_records(path) for path in paths])
        planes = (3, _SIDE, _SIDE)

        def read(i: int) -> LabelledImage:
            pixels = np.ascontiguousarray(records[i, 1:].reshape(planes).transpose(1, 2, 0))
            return LabelledImage(str(i), pixels, int(records[i, 0]))

        classes: list[int | None] = [int(label) for label in records[:, 0]]
        return image_set(
            [str(i) for i in range(len(records))], classes, [*(path.name for path in paths), records.nbytes], read
        )


def _records(path: Path) -> Pixels:
    """A CIFAR-10 file as rows: the label, then the pixels, plane by plane."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadImage(f"{path}: expected the CIFAR-10 binary version, cannot read it ({error.strerror})") from error
    if size == 0 or size % _RECORD:
        raise BadImage(f"{path}: expected CIFAR-10 records of {_RECORD} bytes, got a file of {size} bytes")
    records = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, _RECORD)
    if (highest := int(records[:, 0].max())) > 9:
        raise BadImage(f"{path}: expected CIFAR-10 labels from 0 to 9, got {highest}")
    return records
