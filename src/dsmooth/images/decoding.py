"""Image files as pixels: decoding, colour conversion, EXIF turn, resizing and cropping, and the list of what was done."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dsmooth.errors import BadImage
from dsmooth.images.pixels import check_pixels
from dsmooth.images.sets import LabelledImage

__all__ = ["MAX_PIXELS", "SUFFIXES", "centred", "check_bytes", "decoded", "read_image"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 25_000_000
_MOST_BYTES = 4 * MAX_PIXELS


def read_image(file: Path | io.BytesIO, *, name: str, channels: int = 3, size: int | None = None) -> LabelledImage:
    """An image file as bytes, upright, in 1 or 3 channels, and the list of what that took.

    With `size`, the shorter side is resized to size * 256/224 (Lanczos, antialiased) and the centre size x size is kept,
    unless the image is that size already. PNG, JPEG, WebP and BMP up to 25 megapixels; animated, 16-bit, truncated and
    broken files raise BadImage.
    """
    try:
        with Image.open(file, formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise BadImage(f"{name}: expected at most {MAX_PIXELS:,} pixels, got {opened.width} x {opened.height}")
            if getattr(opened, "n_frames", 1) > 1:
                raise BadImage(f"{name}: expected a still image, got {opened.n_frames} frames")  # type: ignore[attr-defined]
            if any(";16" in str(tile[3]) for tile in opened.tile):
                raise BadImage(f"{name}: expected 8 bits per channel, got 16 or more (mode {opened.mode})")
            opened.load()
            return decoded(opened, name=name, channels=channels, size=size)
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"{name}: expected at most {MAX_PIXELS:,} pixels, got far more") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadImage(
            f"{name}: expected a readable {', '.join(FORMATS)} file, got another, broken or truncated one "
            f"({type(error).__name__})"
        ) from error


def check_bytes(size: int, *, name: str) -> None:
    """Raises BadImage for an image file of too many bytes."""
    if size > _MOST_BYTES:
        raise BadImage(f"{name}: expected an image file of at most {_MOST_BYTES:,} bytes, got {size:,}")


def decoded(image: Image.Image, *, name: str, channels: int = 3, size: int | None = None) -> LabelledImage:
    """An image of Pillow, of 8 bits a channel, as `read_image` gives it."""
    if image.mode.startswith(("I", "F")):
        raise BadImage(f"{name}: expected 8 bits per channel, got 16 or more (mode {image.mode})")
    image, steps = _upright(image, channels)
    if size is not None and image.size != (size, size):
        try:
            image, more = centred(image, size)
        except BadImage as error:
            raise BadImage(f"{name}: {error}") from error
        steps += more
    return LabelledImage(name, check_pixels(np.asarray(image), name=name), None, tuple(steps))


def _upright(image: Image.Image, channels: int) -> tuple[Image.Image, list[str]]:
    steps: list[str] = []
    if image.getexif().get(0x0112, 1) != 1:
        image = ImageOps.exif_transpose(image)
        steps.append("turned as EXIF says")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        solid = Image.new("RGBA", image.size, "white")
        solid.alpha_composite(image.convert("RGBA"))
        image = solid
        steps.append("transparency on white")
    mode = "RGB" if channels == 3 else "L"
    if image.mode != mode:
        steps.append(f"{image.mode} to {mode}")
        image = image.convert(mode)
    return image.copy(), steps


def centred(image: Image.Image, size: int) -> tuple[Image.Image, list[str]]:
    """The centre size x size of an image whose shorter side was resized to size * 256/224, and what that took."""
    short = round(size * 256 / 224)
    scale = short / min(image.size)
    wide, high = (max(short, round(side * scale)) for side in image.size)
    if wide * high > MAX_PIXELS:
        raise BadImage(
            f"expected an image with a usual aspect ratio, got {image.width} x {image.height}: "
            f"with its shorter side at {short} it would have {wide * high:,} pixels"
        )
    left, top = (wide - size) // 2, (high - size) // 2
    cut = image.resize((wide, high), Image.Resampling.LANCZOS).crop((left, top, left + size, top + size))
    return cut, [f"shorter side to {short} (Lanczos)", f"centre {size} x {size}"]
