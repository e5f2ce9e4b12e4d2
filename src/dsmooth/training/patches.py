"""Random crops of images, decided by seed and step alone, so that a resumed training sees what it would have seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsmooth.errors import BadImage
from dsmooth.images import ImageSet, LabelledImage, Pixels

__all__ = ["Patches", "split"]

_HELD_OUT = 40  # every so many-th image of each set judges the training instead of taking part
_MOST_HELD_OUT = 2000
_IN_MEMORY = 4 << 30  # bytes of decoded images; a larger set is read from the disk again and again
_SMALLEST_SCALE = 0.5


def split(sets: Sequence[ImageSet]) -> tuple[list[Sequence[LabelledImage]], list[LabelledImage]]:
    """The images to train on, set by set, and the held-out ones: every 40th of each set, at most 2,000 of it.

    Decoded into memory; a set that is too large for that stays an ImageSet, and its images are decoded when drawn.
    """
    training: list[Sequence[LabelledImage]] = []
    held_out: list[LabelledImage] = []
    for images in sets:
        stride = max(_HELD_OUT, -(-len(images) // _MOST_HELD_OUT))
        judging = range(0, len(images), stride) if len(images) > 1 else range(0)
        held_out += images.subset(judging)
        kept = images.subset([i for i in range(len(images)) if i not in judging])
        large = len(kept) * images[0].pixels.nbytes > _IN_MEMORY
        training.append(kept if large else list(kept))
    return training, held_out


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
                f"got {height} x {width} ({image.key}); choose a smaller --patch"
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
        return crop[:, ::-1] if rng.random() < 0.5 else crop


def _shrink(crop: Pixels, side: int) -> Pixels:
    picture = Image.fromarray(crop[:, :, 0] if crop.shape[2] == 1 else crop)
    return np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS)).reshape(side, side, crop.shape[2])
