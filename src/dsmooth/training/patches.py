"""Random crops of images, decided by seed and step alone, so that a resumed training sees what it would have seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsmooth.errors import BadImage
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import ImageSet, LabelledImage

__all__ = ["Patches"]

_SMALLEST_SCALE = 0.5


@dataclass(frozen=True)
class Patches:
    """Batches of (B, C, side, side) float32 in [0, 1], each crop from a random set, image, place and reflection.

    With `zoom`, half of the crops of images that are large enough come from a larger square, scaled down by up to 2:
    photographs are sharp at the size at which classifiers see them.
    """

    sets: Sequence[Sequence[LabelledImage]]
    side: int
    turns: bool = True
    zoom: bool = True
    mirror: bool = True

    def __post_init__(self) -> None:
        if not self.sets or not all(self.sets):
            raise BadImage("expected at least one training image in each set, got none")
        for images in self.sets:
            for image in images[:1] if isinstance(images, ImageSet) else images:
                self._check(image)

    def batch(self, count: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], list[int | None]]:
        """`count` crops and the labels of their images, drawn with this generator and nothing else."""
        chosen = [self._image(rng) for _ in range(count)]
        crops = np.stack([self._crop(image.pixels, rng) for image in chosen])
        scaled = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
        return scaled, [image.label for image in chosen]

    def _check(self, image: LabelledImage) -> None:
        height, width = image.pixels.shape[:2]
        if min(height, width) < self.side:
            raise BadImage(
                f"expected training images of at least {self.side} x {self.side} pixels, "
                f"got {height} x {width} ({image.name}); choose a smaller --patch"
            )

    def _image(self, rng: np.random.Generator) -> LabelledImage:
        images = self.sets[int(rng.integers(len(self.sets)))]
        image = images[int(rng.integers(len(images)))]
        self._check(image)
        return image

    def _crop(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        side = self.side
        if self.zoom and rng.random() < 0.5:
            largest = min(*image.shape[:2], round(self.side / _SMALLEST_SCALE))
            side = int(rng.integers(self.side, largest + 1))
        top, left = (int(rng.integers(size - side + 1)) for size in image.shape[:2])
        crop = image[top : top + side, left : left + side]
        if side != self.side:
            crop = _shrink(crop, self.side)
        if self.turns:
            crop = np.rot90(crop, int(rng.integers(4)))
        mirrored = rng.random() < 0.5  # drawn in any case: the crops are the same ones
        return crop[:, ::-1] if mirrored and self.mirror else crop


def _shrink(crop: Pixels, side: int) -> Pixels:
    picture = Image.fromarray(crop[:, :, 0] if crop.shape[2] == 1 else crop)
    return np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS)).reshape(side, side, crop.shape[2])
