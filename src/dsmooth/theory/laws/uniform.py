"""Uniform noise on the pixel grid, certified in l1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_count
from dsmooth.theory.grid import LEVELS, WORD_BITS, Table
from dsmooth.theory.laws.base import GridLaw

__all__ = ["Uniform"]

_MOST_LEVELS = 16 * LEVELS + 1  # half-width 8, as wide as the widest sigma


@dataclass(frozen=True, slots=True)
class Uniform(GridLaw):
    """Each of `levels` whole steps around 0 is equally likely on every coordinate; `levels` is odd and at least 3.

    The half-width is lambda = levels / 510 in units of [0, 1]: levels 127 for lambda .249. Moving one coordinate by j steps
    changes the probability of any event by at most j / levels, so P changes by at most |d|_1 / (2 lambda) in all.

    Source: docs/theory.md, claim 19; Lee et al. 2019, Yang et al. 2020 (arXiv 2002.08118).
    """

    levels: int

    name: ClassVar[str] = "uniform"
    norm: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        levels = check_count(self.levels, "levels", least=3, most=_MOST_LEVELS)
        if levels % 2 == 0:
            raise BadParameter(
                f"levels must be odd, so that the noise has mean zero: {levels - 1} or {levels + 1}, got {levels}"
            )
        object.__setattr__(self, "levels", levels)

    @property
    def half_width(self) -> float:
        """lambda, in units of the pixel range [0, 1]."""
        return self.levels / (2 * LEVELS)

    def _radius(self, *, tail: float, rival: float) -> float:
        """lambda (pA - pB); with pB = 1 - pA this is 2 lambda (pA - 1/2)."""
        return self.half_width * (1.0 - tail - rival)

    def _tail(self, radius: float) -> float:
        return 0.5 - radius / (2.0 * self.half_width)

    def _table(self) -> Table:
        whole = 1 << WORD_BITS
        thresholds = [whole * (j + 1) // self.levels for j in range(self.levels - 1)]
        return Table(first=-(self.levels // 2), thresholds=np.array(thresholds, dtype=np.uint64))
