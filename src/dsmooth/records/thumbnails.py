"""Small pictures of the images of a run, for people to look at: no digest covers them and no certificate rests on them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsmooth.records.files import make_folder, read_bounded, write_whole

__all__ = ["FOLDER", "copy_thumbnail", "read_thumbnail", "write_thumbnail"]

FOLDER: Final = "thumbnails"
"""Within the run folder."""

_SIDE: Final = 64
_MOST_BYTES: Final = 1 << 14


def write_thumbnail(run: Path, index: int, pixels: npt.NDArray[np.uint8]) -> None:
    """The run folder holds the picture of this image, (H, W, 1 or 3) bytes, with at most 64 pixels a side.

    Raises OSError where it cannot be written, or where a symbolic link is in the way.
    """
    make_folder(run / FOLDER, inside=run)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((_SIDE, _SIDE))
    write_whole(_path(run, index), _jpeg(picture), inside=run)


def copy_thumbnail(shard: Path, run: Path, index: int) -> None:
    """The run folder holds the picture of this image that the other folder holds, where there is one."""
    if (picture := read_thumbnail(shard, index)) is not None:
        make_folder(run / FOLDER, inside=run)
        write_whole(_path(run, index), picture, inside=run)


def read_thumbnail(run: Path, index: int) -> bytes | None:
    """The picture as a JPEG that is made here, from nothing but its pixels; None unless a small JPEG lies there.

    A run may come from anybody, so what lies there may be anything. Links are not followed.
    """
    try:
        data = read_bounded(_path(run, index), _MOST_BYTES, inside=run)
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            if max(picture.size) > _SIDE or picture.mode not in ("L", "RGB"):
                return None
            return _jpeg(Image.fromarray(np.asarray(picture)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _path(run: Path, index: int) -> Path:
    return run / FOLDER / f"{index:06d}.jpg"


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80, optimize=True)
    return file.getvalue()
