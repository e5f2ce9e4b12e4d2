"""Noise on the pixel grid, as exact integer thresholds.

Images are bytes. Noise drawn as floating point numbers leaves marks in the low bits that a classifier can read, and then no
theorem says anything. Here the noise of a coordinate is a whole number K of steps of 1/255, decided by comparing one uniform
64-bit word with the exact distribution function of K.

Source: docs/theory.md, claim 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter

__all__ = ["LEVELS", "WORD_BITS", "Table", "is_within"]

LEVELS: Final = 255  # steps of the pixel grid in [0, 1]
WORD_BITS: Final = 64  # a uniform word of so many bits decides one coordinate
_MOST: Final = (1 << 15) - 1 - LEVELS  # a noisy pixel is an int16


def is_within(steps: npt.NDArray[np.int64], norm: float, radius: Fraction) -> bool:
    """Whether a change by whole steps is shorter than the radius (pixels in [0, 1]): exact in l1, l2 and l_inf.

    In other norms a hair less is granted than would be true.
    """
    sizes = np.abs(steps)
    if norm == float("inf"):
        return int(sizes.max()) < LEVELS * radius
    if norm == 1.0:
        return int(sizes.sum()) < LEVELS * radius
    if norm == 2.0:
        return int((sizes**2).sum()) < (LEVELS * radius) ** 2
    length = float((sizes.astype(np.float64) ** norm).sum() ** (1.0 / norm))
    return length * (1.0 + 1e-9) < LEVELS * float(radius)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The distribution function of K, in units of 2^-64.

    thresholds[j] = floor(2^64 P(K <= first + j)), uint64, never falling. A uniform 64-bit word u means
    K = first + #{j : thresholds[j] < u}, unless u equals a threshold: then 64 bits do not decide and the trial gives no
    vote (one word in 2^64 for each threshold). Raises BadParameter for anything that is no such table.
    """

    first: int
    thresholds: npt.NDArray[np.uint64]

    def __post_init__(self) -> None:
        thresholds = self.thresholds
        if not isinstance(thresholds, np.ndarray) or thresholds.dtype != np.uint64 or thresholds.ndim != 1:
            raise BadParameter("a table of noise must be a row of uint64 thresholds")
        if not len(thresholds) or (thresholds[1:] < thresholds[:-1]).any():
            raise BadParameter("the thresholds of a table of noise must not fall, and there must be at least one")
        if max(-self.first, self.first + len(thresholds)) > _MOST:
            raise BadParameter(f"noise must stay within {_MOST} steps of 1/255")
        thresholds.setflags(write=False)

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """The values that K can have, rising."""
        return np.arange(self.first, self.first + len(self.thresholds) + 1)

    @property
    def below(self) -> npt.NDArray[np.float64]:
        """P(K <= k) for each of `steps`, to float64."""
        return np.concatenate([self.thresholds.astype(np.float64) / 2.0**WORD_BITS, [1.0]])

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """P(K = k) for each of `steps`: differences of exact whole numbers, so that far tails keep their digits."""
        exact = [0, *map(int, self.thresholds), 1 << WORD_BITS]
        return np.array([(b - a) / 2.0**WORD_BITS for a, b in pairwise(exact)])

    def moment(self, power: int) -> float:
        """E[K^power], in steps."""
        return float((self.probabilities * self.steps.astype(np.float64) ** power).sum())
