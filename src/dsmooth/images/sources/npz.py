"""NumPy arrays in one file: `images` (N, H, W, C), and perhaps `labels` and `indices`."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from dsmooth.errors import BadImage
from dsmooth.images.sets import ImageSet, LabelledImage, image_set
from dsmooth.images.sources.base import Reading

__all__ = ["Npz"]

_MOST = 1 << 30  # bytes


class Npz:
    """An .npz file, never unpickled; `indices` are the names of its images."""

    holds_arrays: ClassVar[bool] = True

    @staticmethod
    def recognises(path: Path) -> bool:
        return path.suffix == ".npz" and not path.is_dir()

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > _MOST:
                raise BadImage(f"{path}: expected arrays of at most {_MOST:,} bytes, got {size:,}: use a folder or zip")
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in ("images", "labels", "indices") if key in file.files}
        except BadImage:
            raise
        except (EOFError, MemoryError, OSError, SyntaxError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise BadImage(
                f"{path}: expected an .npz with `images`, cannot read it ({type(error).__name__})"
            ) from error
        images = arrays.get("images")
        if (
            images is None
            or images.ndim != 4
            or images.dtype != np.uint8
            or images.shape[3] not in (1, 3)
            or not images.size
        ):
            got = "no `images`" if images is None else f"{images.dtype} {images.shape}"
            raise BadImage(f"{path}: expected `images` as uint8 (N, H, W, 1 or 3), got {got}")
        labels, indices = arrays.get("labels"), arrays.get("indices")
        for name, extra in (("labels", labels), ("indices", indices)):
            if extra is not None and (extra.shape != (len(images),) or extra.dtype.kind not in "iu"):
                raise BadImage(
                    f"{path}: expected {name} as {len(images)} whole numbers, got {extra.dtype} {extra.shape}"
                )
            if extra is not None and extra.min() < 0:
                raise BadImage(f"{path}: expected {name} of at least 0, got {extra.min()}")
        keys = [str(i) for i in (range(len(images)) if indices is None else indices.tolist())]
        classes: list[int | None] = [None] * len(images) if labels is None else labels.tolist()
        return image_set(
            keys,
            classes,
            list(images.shape),
            lambda i: LabelledImage(keys[i], np.ascontiguousarray(images[i]), classes[i]),
        )
