"""The law of the noise, and beside it the radius which that law justifies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

from scipy import special

from dsmooth.errors import BadParameter

__all__ = ["RADIUS_MARGIN", "Gaussian", "Noise", "check_norm"]

RADIUS_MARGIN: Final = (1e-9, 1e-12)
"""Relative and absolute amount by which every radius is lowered: far above the rounding of the steps before it."""


_LEAST_TAIL: Final = 1e-300


class Noise(Protocol):
    """A law of noise with a certificate: what is added to the image, and how far that protects."""

    @property
    def sigma(self) -> float: ...

    @property
    def law(self) -> str: ...

    def radius(self, tail_a: float, p_b: float, *, norm: float, dim: int) -> float: ...

    def tail(self, radius: float, *, norm: float, dim: int) -> float: ...

    def __hash__(self) -> int: ...


def check_norm(norm: float | str) -> float:
    """The norm as a float: 1 to infinity ("inf" is accepted); raises BadParameter otherwise."""
    try:
        value = float(norm)
    except (TypeError, ValueError):
        value = math.nan
    if not value >= 1.0:
        raise BadParameter(f"norm must be a number from 1 to inf (usual: 2 or inf), got {norm!r}")
    return value


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Independent N(0, sigma^2) noise on every coordinate; sigma in units of the pixel range [0, 1]."""

    sigma: float

    def __post_init__(self) -> None:
        try:
            value = float(self.sigma)
        except (TypeError, ValueError):
            value = math.nan
        # 8.5 * 255 * 16 keeps a noisy pixel inside int16 with room to spare
        if not 0.002 <= value <= 8.0:
            raise BadParameter(
                f"sigma must be between 0.002 and 8 in units of the pixel range [0, 1] (usual: 0.25), got {self.sigma!r}"
            )
        object.__setattr__(self, "sigma", value)

    @property
    def law(self) -> str:
        """The law's name in records: Gaussian noise, rounded to the grid of 1/255 on which images live."""
        return "gaussian/255"

    def radius(self, tail_a: float, p_b: float, *, norm: float = 2.0, dim: int) -> float:
        """A radius below which no perturbation changes the smoothed answer; 0.0 where nothing can be promised.

        tail_a >= 1 - P(class A) and p_b >= P(any other class), as from bounds.py. The radius is in units of the pixel
        range, in the given norm over dim = H * W * C coordinates. It is sigma/2 (Phi^-1(pA) - Phi^-1(pB)); with
        p_b = tail_a this is Cohen's one-sided sigma Phi^-1(pA).

        Source: Cohen et al. 2019, Theorem 1; for norms above 2, |d|_2 <= dim^(1/2 - 1/q) |d|_q; below 2, |d|_2 <= |d|_q.
        """
        norm = check_norm(norm)
        if not tail_a + p_b < 1.0:  # written so that NaN ends here too
            return 0.0
        radius = -0.5 * self.sigma * float(special.ndtri(tail_a) + special.ndtri(p_b))
        if norm > 2.0:
            radius *= float(dim) ** (1.0 / norm - 0.5)
        relative, absolute = RADIUS_MARGIN
        radius = radius * (1.0 - relative) - absolute
        return radius if radius > 0.0 else 0.0

    def tail(self, radius: float, *, norm: float = 2.0, dim: int) -> float:
        """The tail 1 - q that justifies just more than this radius: `radius()` of it is above, by less than 1e-8 of itself.

        So to reject P(class A) <= q is to certify the radius, up to and including it. At radius 0 it is a hair below 1/2;
        beyond 37 sigma, where float64 ends, it is the tail of 37 sigma, which no number of votes reaches.
        """
        norm = check_norm(norm)
        relative, absolute = RADIUS_MARGIN
        stretched = (radius + absolute) / (1.0 - relative)
        if norm > 2.0:
            stretched *= float(dim) ** (0.5 - 1.0 / norm)
        tail = float(special.ndtr(-stretched / self.sigma))
        while tail > _LEAST_TAIL and not self.radius(tail, tail, norm=norm, dim=dim) > radius:
            tail *= 1.0 - 1e-12
        return max(tail, _LEAST_TAIL)
