"""Which images judge a training instead of taking part."""

from __future__ import annotations

from collections.abc import Sequence

from dsmooth.images.sets import ImageSet, LabelledImage

__all__ = ["held_out_of", "split"]

_HELD_OUT = 40  # every so many-th image of each set
_MOST_HELD_OUT = 2000
_IN_MEMORY = 4 << 30  # bytes of decoded images; a larger set is read from the disk again and again


def split(sets: Sequence[ImageSet]) -> tuple[list[Sequence[LabelledImage]], list[LabelledImage]]:
    """The images to train on, set by set, and the held-out ones: every 40th of each set, at most 2,000 of it.

    Decoded into memory; a set that is too large for that stays an ImageSet, and its images are decoded when drawn.
    """
    training: list[Sequence[LabelledImage]] = []
    held_out: list[LabelledImage] = []
    for images in sets:
        judging = _judging(images)
        held_out += images.subset(judging)
        kept = images.subset([i for i in range(len(images)) if i not in judging])
        large = len(kept) * images[0].pixels.nbytes > _IN_MEMORY
        training.append(kept if large else list(kept))
    return training, held_out


def held_out_of(images: ImageSet) -> ImageSet:
    """The images of a set that judge its training."""
    return images.subset(_judging(images))


def _judging(images: ImageSet) -> range:
    stride = max(_HELD_OUT, -(-len(images) // _MOST_HELD_OUT))
    return range(0, len(images), stride) if len(images) > 1 else range(0)
