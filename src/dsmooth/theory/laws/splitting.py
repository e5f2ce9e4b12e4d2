"""Splitting noise: finitely many outcomes, all evaluated; certified in l1 deterministically."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsmooth.theory.bounds import check_count
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.base import EnumeratedLaw

__all__ = ["Splitting"]

_MOST_LEVELS = 16 * LEVELS + 1  # half-width 8, as wide as the widest sigma


@dataclass(frozen=True, slots=True)
class Splitting(EnumeratedLaw):
    """Outcome s of `levels` shows every pixel as the middle of its cell between two neighbouring splits.

    The splits of a coordinate are `levels` steps apart, and move by one step from outcome to outcome; where they begin is a
    fixed public template. A step of one coordinate crosses the split of one outcome, so an image of 8 bits at an l1 distance
    of j steps is shown otherwise in at most j outcomes, whatever the coordinates. Half-width lambda = levels / 510, pixels
    in [0, 1]: levels 127 for lambda .249; at least 2.

    Source: docs/theory.md, claim 21; Levine and Feizi 2021 (arXiv 2103.10834), deterministic smoothing with splitting noise.
    """

    levels: int

    name: ClassVar[str] = "splitting"
    norm: ClassVar[float] = 1.0
    source: ClassVar[str] = "splitting"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", check_count(self.levels, "levels", least=2, most=_MOST_LEVELS))

    @property
    def samples(self) -> int:
        return self.levels

    @property
    def half_width(self) -> float:
        """lambda, in units of the pixel range [0, 1]."""
        return self.levels / (2 * LEVELS)

    @property
    def level(self) -> float:
        """lambda / sqrt(3): what is shown is uniform around the pixel, as far as nothing is clipped."""
        return self.half_width / 3.0**0.5

    def _radius(self, *, tail: float, rival: float) -> float:
        """Half the votes by which the answer leads, in whole steps; tail and rival are whole multiples of 1 / levels."""
        return round(self.levels * (1.0 - tail - rival)) // 2 / LEVELS

    def _tail(self, radius: float) -> float:
        return 0.5 - radius * LEVELS / self.levels
