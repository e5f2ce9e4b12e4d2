"""Compressed and decompressed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, __version__, features

from dsmooth.theory.bounds import check_count
from dsmooth.theory.threats.base import Boxes, Bytes, Threat

__all__ = ["Jpeg"]


@dataclass(frozen=True, slots=True)
class Jpeg(Threat):
    """Written as JPEG of each whole quality from `quality` to 100 with Pillow's other settings, and read again.

    Finitely many images, all of them listed. What they are depends on the library that writes and reads them, which is part
    of what is covered. Source: docs/theory.md, claim 29.
    """

    quality: int

    name: ClassVar[str] = "jpeg"
    usage: ClassVar[str] = "jpeg QUALITY"
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "quality", check_count(self.quality, "the least quality of jpeg", least=1, most=100))

    @property
    def words(self) -> str:
        """As in `Threat`."""
        return f"JPEG of quality {self.quality} to 100"

    @property
    def by(self) -> str:
        """As in `Threat`."""
        turbo = features.version("libjpeg_turbo")
        library = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
        return f"Pillow {__version__}, {library}: Image.save(quality=...), then Image.open"

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """As in `Threat`."""
        return ((self.quality, 100),)

    def apply(self, pixels: Bytes, *parameters: float) -> Bytes:
        """As in `Threat`."""
        (quality,) = map(int, parameters)
        grey, file = pixels.shape[2] == 1, io.BytesIO()
        Image.fromarray(pixels[:, :, 0] if grey else pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file), dtype=np.uint8).reshape(pixels.shape)

    def boxes(self, pixels: Bytes) -> Boxes:
        """As in `Threat`: one box for each image, the best first."""
        rows = np.stack([self.apply(pixels, quality).reshape(-1) for quality in range(100, self.quality - 1, -1)])
        return Boxes(rows, rows, rows, pixels.reshape(-1))
