"""Pixels -> the PNG that is sent. It comes after the noise, so it is part of the function that is certified."""

from __future__ import annotations

import io
import math
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsmooth.errors import BadImage

__all__ = ["png_of", "preparation"]

# noise does not repeat itself, so looking for repetitions costs time and makes files larger; coding alone is worth it
_COMPRESSION = {"compress_level": 1, "compress_type": zlib.Z_HUFFMAN_ONLY}


def preparation(least_side: int) -> str:
    """What happens to the denoised image before it is sent, in words, for the record."""
    upscaled = f", shorter side upscaled to {least_side} (bicubic) where it is less" if least_side > 1 else ""
    return f"clipped and rounded to 8 bits{upscaled}, PNG"


def png_of(pixels: npt.NDArray[np.uint8], least_side: int = 1, most_bytes: int | None = None) -> bytes:
    """(H, W, C) bytes as a PNG file whose sides are at least `least_side`.

    Raises BadImage where the file is larger than the service takes.
    """
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if (short := min(picture.size)) < least_side:
        wide, high = (max(least_side, math.ceil(side * least_side / short)) for side in picture.size)
        picture = picture.resize((wide, high), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "PNG", **_COMPRESSION)
    if most_bytes is not None and file.tell() > most_bytes:
        raise BadImage(
            f"an image of {picture.width} x {picture.height} pixels makes a PNG of {file.tell():,} bytes, and this "
            f"service takes {most_bytes:,}: make it smaller (--size)"
        )
    return file.getvalue()
