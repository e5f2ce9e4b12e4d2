"""The noise that a denoiser is trained under, as the networks see it: drawn in floats on the device, of a standard deviation
for each image. Certificates never rest on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.training.recipe import Recipe

__all__ = ["CORRUPTIONS", "Corrupt", "corruption"]

Corrupt = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Clean images (B, C, H, W) in [0, 1], standard deviations (B, 1, 1, 1), generator -> noisy images of the same shape."""

_WIDE: Final = 3.0**0.5  # half-widths of uniform noise in its standard deviations


def _gaussian(clean: Tensor, sigma: Tensor, drawn: torch.Generator) -> Tensor:
    return clean + sigma * torch.randn(clean.shape, generator=drawn, device=clean.device)


def _uniform(clean: Tensor, sigma: Tensor, drawn: torch.Generator) -> Tensor:
    return clean + _WIDE * sigma * (2.0 * torch.rand(clean.shape, generator=drawn, device=clean.device) - 1.0)


def _splitting(clean: Tensor, sigma: Tensor, drawn: torch.Generator) -> Tensor:
    """One outcome of `Splitting`, whose template is drawn anew: the middle of the cell of every pixel, ends clipped."""
    levels = (2 * LEVELS * _WIDE * sigma).round().clamp(min=2.0)
    below = torch.rand(clean.shape, generator=drawn, device=clean.device).mul(levels).floor() + 0.5
    steps = (LEVELS * clean).round()
    upper = ((steps - below) / levels).ceil() * levels + below  # the next split above the pixel
    return (upper.clamp(max=float(LEVELS)) + (upper - levels).clamp(min=0.0)) / (2 * LEVELS)


CORRUPTIONS: Final[dict[str, Corrupt]] = {"gaussian": _gaussian, "uniform": _uniform, "splitting": _splitting}
"""By the names of the laws."""


def corruption(recipe: Recipe) -> Corrupt:
    """The noise of the recipe, with the light that it has beside it."""
    make, strengths = CORRUPTIONS[recipe.noise], recipe.light

    def corrupt(clean: Tensor, sigma: Tensor, drawn: torch.Generator) -> Tensor:
        noisy = make(clean, sigma, drawn)
        if any(strengths.values()):
            _, channels, height, width = clean.shape
            for direction in Lighting(1.0, **strengths).directions((height, width, channels)):
                image = torch.from_numpy(direction.image).to(noisy).permute(2, 0, 1)
                along = torch.randn((len(clean), 1, 1, 1), generator=drawn, device=clean.device)
                noisy = noisy + direction.law.sigma * along * image
        return noisy

    return corrupt
