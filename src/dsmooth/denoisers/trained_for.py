"""What a denoiser was trained for: the recipe in its weights file, and the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dsmooth.theory.bounds import number_or_nan
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.base import Law
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import STRENGTHS, Lighting
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform

__all__ = ["law_for", "noise_of", "recipe_of"]

_LEVELS_A_SIGMA: Final = 2 * LEVELS * 3.0**0.5  # the standard deviation of uniform noise is its half-width / sqrt(3)


def recipe_of(metrics: object) -> Mapping[str, Any] | None:
    """The recipe among the metrics of a weights file; that of its end, where weights are the mean of a start and an end."""
    if not isinstance(metrics, Mapping):
        return None
    for held in (metrics, metrics.get("end")):
        if isinstance(held, Mapping) and isinstance(held.get("recipe"), Mapping):
            recipe: Mapping[str, Any] = held["recipe"]
            return recipe
    return None


def noise_of(denoiser: object) -> str | None:
    """The law of noise that a denoiser was trained for, by its recipe; None where that is unknown."""
    recipe = recipe_of(getattr(denoiser, "metrics", None))
    return None if recipe is None else str(recipe.get("noise", "gaussian"))


def law_for(recipe: Mapping[str, Any], sigma: float) -> Law:
    """The noise that this recipe trains for, of about this standard deviation; Gaussian where it names none.

    Raises BadParameter where nothing can be certified under it.
    """
    noise, light = recipe.get("noise"), {name: number_or_nan(recipe.get(name, 0.0)) for name in STRENGTHS}
    if noise == "uniform":
        return Uniform(max(1, round((_LEVELS_A_SIGMA * sigma - 1) / 2)) * 2 + 1)
    if noise == "splitting":
        return Splitting(max(2, round(_LEVELS_A_SIGMA * sigma)))
    return Lighting(sigma, **light) if any(value > 0.0 for value in light.values()) else Gaussian(sigma)
