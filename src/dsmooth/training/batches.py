"""Which images a step sees, and under how much noise: decided by seed and step alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.training.patches import Patches
from dsmooth.training.prefetch import Prefetch
from dsmooth.training.recipe import Recipe
from dsmooth.training.resident import Resident

__all__ = ["Batches", "image_batches", "sigmas"]

Batches = Callable[[int, torch.Generator], tuple[Tensor, Tensor | None]]
"""step, generator -> clean images (B, C, H, W) in [0, 1] on the device, and their labels where all are known."""


def image_batches(
    recipe: Recipe, count: int, training: Sequence[Sequence[LabelledImage]], device: torch.device
) -> Batches:
    """Batches of `count` images as the recipe draws them: patches, or whole images that stay on the device."""
    if recipe.padding is not None:
        every = [image for images in training for image in images]
        resident = Resident(every, recipe.padding, device, recipe.distort, recipe.mirror)
        return lambda step, drawn: resident.batch(count, drawn)
    patches = Patches(training, recipe.patch, recipe.turns, recipe.zoom, recipe.mirror)

    def cut(step: int) -> tuple[Tensor, Tensor | None]:
        crops, labels = patches.batch(count, np.random.default_rng([recipe.seed, step]))
        return torch.from_numpy(crops), None if None in labels else torch.tensor(labels)

    # images that must be decoded each time, or a device that is quicker than one thread that cuts
    busy = device.type != "cpu" or any(isinstance(images, ImageSet) for images in training)
    made = Prefetch(cut) if busy else cut

    def batch(step: int, drawn: torch.Generator) -> tuple[Tensor, Tensor | None]:
        crops, labels = made(step)
        return crops.to(device), None if labels is None else labels.to(device)

    return batch


def sigmas(recipe: Recipe, count: int, drawn: torch.Generator) -> Tensor:
    """(count,) noise levels of the recipe's range, by its law."""
    low, high = recipe.sigma_range
    uniform = torch.rand(count, generator=drawn, device=drawn.device)
    return low * (high / low) ** uniform if recipe.sigma_law == "log-uniform" else low + (high - low) * uniform
