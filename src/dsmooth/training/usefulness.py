"""How far a trained denoiser is from a useful one: compared with none and with a shipped one on the same held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from dsmooth.denoisers.base import Denoise, Denoiser
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.training.held_out import held_out_of
from dsmooth.training.judging import Judged
from dsmooth.training.objectives import Objective
from dsmooth.training.recipe import Recipe

__all__ = ["usefulness", "yardstick"]

_MOST_IMAGES: Final = 8
_SMALL: Final = 64  # pixels a side: below that, what was trained on small images is the better yardstick
_MINUTES: Final = {"photo": 63, "cifar10-mse": 35}
"""Shipped denoisers for squared error, and how long one core trained them (docs/results.md)."""
_WORDS: Final = ((0.3, "as good"), (1.0, "nearly as good"), (2.5, "of some use; train longer"))
"""What a distance of so many dB below the yardstick means; in between lies most of what can be certified."""


def yardstick(recipe: Recipe, sets: Sequence[ImageSet]) -> tuple[str, int] | None:
    """The shipped denoiser that a training can be compared with, and the minutes that it took on at most two cores.

    None for grey images, for other noise, and where more than the squared error of clean images is trained for.
    """
    objective = Objective.parse(recipe.objective)
    height, width, channels = sets[0][0].pixels.shape
    if (
        channels != 3
        or recipe.noise != "gaussian"
        or any(recipe.light.values())
        or recipe.teacher is not None
        or objective.asks_classifier
        or not objective.mse
    ):
        return None
    name = "photo" if min(height, width) >= _SMALL else "cifar10-mse"
    return name, _MINUTES[name]


def usefulness(denoiser: Denoiser, recipe: Recipe, sets: Sequence[ImageSet]) -> str | None:
    """One line for people, at the middle of the judged sigmas; None where there is nothing to compare with."""
    compared = yardstick(recipe, sets)
    shown: list[LabelledImage] = [image for images in sets for image in held_out_of(images)[:_MOST_IMAGES]]
    if compared is None or not shown:
        return None
    name, minutes = compared
    shipped, sigma = load_denoiser(name), recipe.judged_at[len(recipe.judged_at) // 2]
    low, high = shipped.sigma_range or (sigma, sigma)
    if not low <= sigma <= high:
        return None
    judged = Judged(shown[:_MOST_IMAGES], recipe.seed, torch.device("cpu"))
    own, other, nothing = (_psnr(judged, each, sigma) for each in (denoiser.denoise, shipped.denoise, _noisy))
    far = next((words for gap, words in _WORDS if other - own <= gap), "far from useful; train longer")
    if own <= nothing:
        far = "worse than nothing"
    return (
        f"{own:.1f} dB at sigma {sigma:g}, where noisy images have {nothing:.1f} dB and the shipped {name} {other:.1f} dB "
        f"({minutes} min on at most two cores): {far}"
    )


def _psnr(judged: Judged, denoise: Denoise, sigma: float) -> float:
    with torch.inference_mode():
        return judged.score(denoise, sigma, {})[0]["psnr"]


def _noisy(x: Tensor, sigma: float) -> Tensor:
    return x
