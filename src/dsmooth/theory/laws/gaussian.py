"""Gaussian noise on the pixel grid, certified in l2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import number_or_nan, shown
from dsmooth.theory.grid import LEVELS, WORD_BITS, Table
from dsmooth.theory.laws.base import GridLaw

__all__ = ["Gaussian", "weakest_gaussian_rival"]

_REACH = 9.25  # in sigmas: Phi(-9.25) * 2^64 < 1/2, so every word is on one side of the last threshold or undecided
_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Gaussian(GridLaw):
    """Independent N(0, sigma^2) noise on every coordinate, rounded to whole steps of 1/255; sigma in units of [0, 1].

    The steps K have P(K <= k) = Phi((k + 1/2) / (255 sigma)). An image is on the grid, so x + K/255 is x + eps rounded to
    the grid: the classifier "round, then ask f" under true Gaussian noise, to which the theorem applies without slack.

    Source: docs/theory.md, claim 1; Cohen et al. 2019, Theorem 1; Voracek and Hein 2023 (arXiv 2207.07209) and Jin et al.
    2022 (arXiv 2205.10159) on the pitfalls of floating-point noise.
    """

    sigma: float

    name: ClassVar[str] = "gaussian"
    norm: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        value = number_or_nan(self.sigma)
        # 8.5 * 255 * 16 keeps a noisy pixel inside int16 with room to spare
        if not 0.002 <= value <= 8.0:
            raise BadParameter(
                f"sigma must be between 0.002 and 8 in units of the pixel range [0, 1] (usual: 0.25), "
                f"got {shown(self.sigma)}"
            )
        object.__setattr__(self, "sigma", value)

    @property
    def level(self) -> float:
        """sigma: rounding to the grid adds less than 1e-6 / sigma^2 of it."""
        return self.sigma

    def _radius(self, *, tail: float, rival: float) -> float:
        """sigma/2 (Phi^-1(pA) - Phi^-1(pB)); with pB = 1 - pA this is sigma Phi^-1(pA)."""
        from scipy import special

        return -0.5 * self.sigma * float(special.ndtri(tail) + special.ndtri(rival))

    def _tail(self, radius: float) -> float:
        from scipy import special

        return float(special.ndtr(-radius / self.sigma))

    def weakest_rival(self, *, tail: float, group: float, count: int) -> float:
        return weakest_gaussian_rival(tail=tail, group=group, count=count)

    def _table(self) -> Table:
        """Thresholds in 40-digit arithmetic."""
        import mpmath  # 0.1 s, needed only where noise is drawn

        exact = mpmath.MPContext()  # of its own: mpmath's usual precision is shared by all threads
        exact.dps = _DIGITS
        scale = LEVELS * exact.mpf(self.sigma)  # the binary sigma that the record names, not its decimal neighbour
        reach = int(exact.ceil(_REACH * scale)) + 1
        whole = exact.mpf(2) ** WORD_BITS
        # P(K <= k) for k < 0; the upper half is its mirror image: P(K <= k) = 1 - P(K <= -k - 1)
        lower = [whole * exact.erfc((-k - exact.mpf(1) / 2) / scale / exact.sqrt(2)) / 2 for k in range(-reach, 0)]
        floors = [int(exact.floor(value)) for value in lower]
        mirror = [int(exact.floor(whole - value)) for value in reversed(lower)]
        return Table(first=-reach, thresholds=np.array(floors + mirror, dtype=np.uint64))


def weakest_gaussian_rival(*, tail: float, group: float, count: int) -> float:
    """`weakest_rival` under Gaussian noise: all of the group together is one event, and it cannot grow as fast as its parts.

    The radius r in standard deviations is where Phi(Phi^-1(1 - tail) - r) = Phi(Phi^-1(group) + r) / count, and answer the
    probability with which one rival gives that radius.

    Source: Jia et al. 2020 (arXiv 1912.09899), Theorem 1.
    """
    from scipy import special

    if count == 1 or not 0.0 < group < 1.0 or not 0.0 < tail < 1.0:
        return group / count
    here, there = -float(special.ndtri(tail)), float(special.ndtri(group))

    def stays(radius: float) -> bool:
        return float(special.log_ndtr(here - radius)) > float(special.log_ndtr(there + radius)) - math.log(count)

    low, high = 0.0, 40.0
    if not stays(low):
        return group / count
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if stays(middle) else (low, middle)
    return min(float(special.ndtr(here - 2.0 * low)), group / count)
