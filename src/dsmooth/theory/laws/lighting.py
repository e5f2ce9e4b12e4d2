"""Gaussian noise on pixels and lighting: certified in l2, and against changes of brightness, colour and side light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import number_or_nan, shown
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.base import RandomLaw
from dsmooth.theory.laws.gaussian import Gaussian, weakest_gaussian_rival

__all__ = ["STRENGTHS", "Direction", "Lighting"]

STRENGTHS: Final = ("brightness", "colour", "ramp")
"""The strengths of the noise on the light, by the names of their fields."""
_STEEP: Final = 8
"""Steps of a ramp from its middle to its edge, for each step of its strength."""
_PASSES: Final = 4  # over the directions, when whole steps along them are looked for


class Direction(NamedTuple):
    """A fixed public image, and how strong the noise along it is."""

    name: str
    image: npt.NDArray[np.int64]
    """(H, W, C) in whole steps."""
    law: Gaussian
    """Of its coefficient, in steps of 1/255."""


@dataclass(frozen=True, slots=True)
class Lighting(RandomLaw):
    """Independent Gaussian noise on every coordinate and on the coefficients of a few fixed images that are added.

    brightness: the same for all coordinates. colour: for each of the three channels. ramp: from -1 at one edge of the image
    to 1 at the other, across and down. Each number is a standard deviation, pixels in [0, 1] (of a ramp: at its edge);
    0 leaves it out, and at least one is not 0. sigma as in `Gaussian`.

    A change of the image is a change r of the pixels and whole steps b_j along the fixed images. The answer holds where
    |r|^2 / sigma^2 + sum_j b_j^2 / s_j^2 < (R / sigma)^2, with R the l2 radius; so it holds for any r shorter than R, as
    without the light. What is clipped at black and white counts as r. Source: docs/theory.md, claim 22.
    """

    sigma: float
    brightness: float = 0.0
    colour: float = 0.0
    ramp: float = 0.0

    name: ClassVar[str] = "lighting"
    norm: ClassVar[float] = 2.0
    source: ClassVar[str] = "lighting"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", Gaussian(self.sigma).sigma)
        for name in STRENGTHS:
            value = number_or_nan(getattr(self, name))
            least = 0.002 * (_STEEP if name == "ramp" else 1)
            if value != 0.0 and not least <= value <= 1.0:
                raise BadParameter(
                    f"{name} must be 0 or from {least:g} to 1 in units of the pixel range [0, 1] (usual: 0.1), "
                    f"got {shown(getattr(self, name))}"
                )
            object.__setattr__(self, name, value + 0.0)  # -0.0 is the same law, and its noise would be another
        if not any(getattr(self, name) for name in STRENGTHS):
            raise BadParameter(f"noise lighting needs one of {', '.join(STRENGTHS)} above 0; without them use gaussian")

    @property
    def level(self) -> float:
        """sigma: the denoiser removes the noise on the pixels, and leaves the lighting to the classifier."""
        return self.sigma

    def _radius(self, *, tail: float, rival: float) -> float:
        return Gaussian(self.sigma)._radius(tail=tail, rival=rival)

    def _tail(self, radius: float) -> float:
        return Gaussian(self.sigma)._tail(radius)

    def weakest_rival(self, *, tail: float, group: float, count: int) -> float:
        return weakest_gaussian_rival(tail=tail, group=group, count=count)

    def directions(self, shape: Sequence[int]) -> list[Direction]:
        """The fixed images for images of this shape (H, W, C); raises BadParameter for the colour of a grey one."""
        height, width, channels = shape
        ones = np.ones((height, width, channels), np.int64)
        made = []
        if self.brightness:
            made.append(Direction("brightness", ones, Gaussian(self.brightness)))
        if self.colour:
            if channels != 3:
                raise BadParameter(f"noise on the colour needs images of 3 channels, got {channels}")
            made += [Direction("colour", ones * (np.arange(3) == i), Gaussian(self.colour)) for i in range(3)]
        if self.ramp:
            across, down = _ramp(width)[None, :, None], _ramp(height)[:, None, None]
            made += [Direction("ramp", ones * one, Gaussian(self.ramp / _STEEP)) for one in (across, down)]
        return made

    def allowed(self, radius: float) -> dict[str, float]:
        """How far each of them may change alone within this l2 radius, pixels in [0, 1]; rounded down."""
        share = radius / self.sigma * (1.0 - 1e-12)
        return {name: share * strength for name in STRENGTHS if (strength := getattr(self, name))}

    def spread(self, shape: Sequence[int]) -> npt.NDArray[np.float64]:
        """The fixed images, each times its s / sigma."""
        return np.stack([one.image * (one.law.sigma / self.sigma) for one in self.directions(shape)])

    def _covers(self, steps: npt.NDArray[np.int64], radius: Fraction) -> bool:
        """Whether whole steps along the fixed images are found that bring a change (H, W, C) within the radius."""
        return self._cost(steps) < (radius / Fraction(self.sigma)) ** 2

    def _cost(self, steps: npt.NDArray[np.int64]) -> Fraction:
        """|r|^2 / sigma^2 + sum b_j^2 / s_j^2 for the best whole b that is found; exact for this b."""
        directions = self.directions(steps.shape)
        images = np.stack([direction.image.reshape(-1) for direction in directions])
        weights = np.array([(self.sigma / direction.law.sigma) ** 2 for direction in directions])
        flat = steps.reshape(-1).astype(np.int64)
        products, pulls = images @ images.T, images @ flat
        found = np.rint(np.linalg.solve(products + np.diag(weights), pulls)).astype(np.int64)
        for _ in range(_PASSES):  # each coefficient at its best, the others held
            for j in range(len(found)):
                others = pulls[j] - products[j] @ found + products[j, j] * found[j]
                found[j] = round(float(others) / (float(products[j, j]) + weights[j]))
        rest = flat - found @ images
        cost = Fraction(int(rest @ rest)) / Fraction(self.sigma) ** 2
        cost += sum(
            (Fraction(int(b)) / Fraction(direction.law.sigma)) ** 2
            for b, direction in zip(found.tolist(), directions, strict=True)
        )
        return cost / LEVELS**2


def _ramp(length: int) -> npt.NDArray[np.int64]:
    """Whole numbers from about -8 to 8 along an edge of so many pixels, the same backwards with the other sign."""
    places: npt.NDArray[Any] = (2 * np.arange(length) + 1 - length) * _STEEP / length
    return (np.sign(places) * np.floor(np.abs(places) + 0.5)).astype(np.int64)
