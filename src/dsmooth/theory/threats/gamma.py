"""Gamma curves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

import mpmath
import numpy as np

from dsmooth.theory.threats.base import Bytes
from dsmooth.theory.threats.tables import IDENTITY, IntervalThreat

__all__ = ["Gamma"]

_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class Gamma(IntervalThreat):
    """v becomes floor(255 (v/255)^g + 1/2) for every real g from `low` to `high`. Source: docs/theory.md, claim 29."""

    name: ClassVar[str] = "gamma"
    usage: ClassVar[str] = "gamma LOW HIGH"
    span: ClassVar[tuple[float, float]] = (0.25, 4.0)

    @property
    def by(self) -> str:
        """As in `Threat`."""
        return "gamma 1: of levels in [0, 1], rounded half up"

    def apply(self, pixels: Bytes, *parameters: float) -> Bytes:
        """As in `Threat`; the parameter is read as the decimal that it is written as."""
        (gamma,) = parameters
        made: Bytes = _table(repr(float(gamma)))[pixels]
        return made

    def tables(self, pixels: Bytes) -> Bytes:
        """As in `TableThreat`; the same for all images."""
        return _tables(repr(self.low), repr(self.high))


@lru_cache(maxsize=4)
def _tables(low: str, high: str) -> Bytes:
    """The table at the low end, and the one behind each place where a level falls by one."""
    exact = _arithmetic()
    first, last = _table(low), _table(high)
    jumps = []
    for level in range(1, 255):
        slope = exact.log(exact.mpf(level) / 255)
        # from k + 1 to k where 255 (v/255)^g = k + 1/2
        jumps += [(exact.log(exact.mpf(2 * k + 1) / 510) / slope, level) for k in range(last[level], first[level])]
    falling = np.array([level for _, level in sorted(jumps)], dtype=np.intp)
    tables = np.tile(first, (len(falling) + 1, 1))
    for level in range(1, 255):
        tables[1:, level] -= np.cumsum(falling == level, dtype=np.uint8)
    return tables


@lru_cache(maxsize=64)
def _table(gamma: str) -> Bytes:
    exact = _arithmetic()
    table, power = IDENTITY.copy(), exact.mpf(gamma)
    for level in range(1, 255):
        table[level] = int(exact.floor(255 * (exact.mpf(level) / 255) ** power + exact.mpf(1) / 2))
    return table


def _arithmetic() -> mpmath.MPContext:
    """Of its own: mpmath's usual precision is shared by all threads."""
    exact = mpmath.MPContext()
    exact.dps = _DIGITS
    return exact
