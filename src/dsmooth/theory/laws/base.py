"""The contract of noise distributions (laws).

A law defines its name and parameters (which enter every record and the key of every noise stream), the standard deviation
for the denoiser, the radius that its theorem gives, and, for noise on the pixel grid, the exact table that it is drawn from.
What all laws share is done here once and cannot be overridden: the comparison of norms, the margins for rounding, the
checks of a table.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, Final, Self, final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import number_or_nan, shown
from dsmooth.theory.grid import LEVELS, Table, is_within

__all__ = ["RADIUS_MARGIN", "EnumeratedLaw", "GridLaw", "Law", "RandomLaw", "check_norm"]

RADIUS_MARGIN: Final = (1e-9, 1e-12)
"""Relative and absolute amount by which every radius is lowered: far above the rounding of the steps before it."""

_LEAST_TAIL: Final = 1e-300
_CLOSER: Final = 1e-12  # relative step by which a tail is lowered until it justifies its radius
_PATIENCE: Final = 64  # steps of that size, after which they double


def check_norm(norm: float | str) -> float:
    """The norm as a float: 1 to infinity ("inf" is accepted); raises BadParameter otherwise."""
    value = math.inf if isinstance(norm, str) and norm == "inf" else number_or_nan(norm)
    if not value >= 1.0:
        raise BadParameter(f"norm must be a number from 1 to inf (usual: 2 or inf), got {shown(norm)}")
    return value


class Law(ABC):
    """A noise distribution and the radius that it certifies. Subclasses are frozen dataclasses of their parameters.

    Every law is of one of two kinds: RandomLaw (votes are a sample, certificates hold with confidence 1 - alpha) or
    EnumeratedLaw (all outcomes are evaluated, certificates are deterministic).
    """

    name: ClassVar[str]
    """Its name in records and on the command line."""

    norm: ClassVar[float]
    """Its native norm, that of its theorem; radii in other norms follow from inequalities between norms."""

    source: ClassVar[str]
    """What makes its samples: a name in smoothing/sources, or "module:object" for your own source."""

    @property
    @abstractmethod
    def level(self) -> float:
        """The noise level: standard deviation on one coordinate, pixels in [0, 1], as passed to the denoiser."""

    @abstractmethod
    def _radius(self, *, tail: float, rival: float) -> float:
        """The radius in the law's own norm, in exact arithmetic; asked only where tail + rival < 1.

        tail >= 1 - P(class A), rival >= P(any other class). It falls in both.
        """

    @abstractmethod
    def _tail(self, radius: float) -> float:
        """The tail t with `_radius(tail=t, rival=t)` = radius, up to rounding; at most 0 where there is none."""

    @final
    def to_json(self) -> dict[str, Any]:
        """Name and parameters: everything that determines the noise."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]  # subclasses are dataclasses

    @final
    def __str__(self) -> str:
        """Name and parameters, as tables show them: gaussian 0.25; several parameters with their names."""
        parameters = {name: f"{value:g}" for name, value in self.to_json().items() if name != "name"}
        told = [f"{name} {value}" for name, value in parameters.items()] if len(parameters) > 1 else parameters.values()
        return " ".join([self.name, *told])

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The law with these parameters; raises BadParameter for missing and unknown ones."""
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]  # subclasses are dataclasses
        if parameters.keys() != names:
            raise BadParameter(
                f"noise {cls.name} takes {', '.join(sorted(names)) or 'no parameter'}, "
                f"got {', '.join(sorted(parameters)) or 'none'}"
            )
        return cls(**parameters)

    @final
    def norm_or_own(self, norm: float | str | None) -> float:
        """The norm, checked; the law's native one if None."""
        return self.norm if norm is None else check_norm(norm)

    @final
    def radius(self, *, tail: float, rival: float, norm: float | None = None, dim: int) -> float:
        """A radius below which no perturbation changes the smoothed answer; 0.0 if none can be certified.

        tail >= 1 - P(class A) and rival >= P(any other class), as from bounds.py; with rival = tail this is the one-sided
        rule. Distances are in units of the pixel range [0, 1], in the given norm (None: the law's own) over
        dim = H * W * C coordinates: for q above the law's own p, |d|_p <= dim^(1/p - 1/q) |d|_q; below, |d|_p <= |d|_q.

        Source: docs/theory.md, claims 4, 8 and 9, and the law's own theorem.
        """
        norm = self.norm_or_own(norm)
        if not tail + rival < 1.0:  # written so that NaN ends here too
            return 0.0
        radius = self._radius(tail=tail, rival=rival)
        if norm > self.norm:
            radius *= float(dim) ** (1.0 / norm - 1.0 / self.norm)
        relative, absolute = RADIUS_MARGIN
        radius = radius * (1.0 - relative) - absolute
        return radius if radius > 0.0 else 0.0

    def weakest_rival(self, *, tail: float, group: float, count: int) -> float:
        """What stands as `rival` for `count` labels of which at least one must stay behind class A.

        tail >= 1 - P(class A), group >= the sum of their probabilities. Closer than the radius of tail and answer, they are
        not all as probable as class A. The default is right for every law: the weakest of them has at most the mean.

        Source: docs/theory.md, claim 27.
        """
        return group / count

    def allowed(self, radius: float) -> dict[str, float]:
        """How far each additional parameter of the noise may change alone within this radius; empty for most laws."""
        return {}

    def spread(self, shape: Sequence[int]) -> npt.NDArray[np.float64] | None:
        """Further images (m, H, W, C) along which a change costs less than pixel by pixel; None, for most laws.

        With coefficients w, a change r + sum w_j image_j of pixels in [0, 1] is within an l2 radius where |r|^2 + |w|^2 is.
        """
        return None

    @final
    def covers(self, steps: npt.NDArray[np.int64], radius: Fraction, *, norm: float | None = None) -> bool:
        """Whether this radius covers a change (H, W, C) by whole steps of 1/255, in exact arithmetic.

        norm: of the radius; by default the law's own.
        """
        own = norm is None or norm == self.norm
        return self._covers(steps, radius) if own else is_within(steps, norm or self.norm, radius)

    def _covers(self, steps: npt.NDArray[np.int64], radius: Fraction) -> bool:
        """As `covers`, for a radius in the law's own norm."""
        return is_within(steps, self.norm, radius)

    @final
    def tail(self, radius: float, *, norm: float | None = None, dim: int) -> float:
        """The tail 1 - q that justifies just more than this radius: `radius()` of it is above, by less than 1e-8 of itself.

        So to reject P(class A) <= q is to certify the radius, up to and including it. At radius 0 it is a hair below 1/2;
        where no tail justifies the radius (beyond the law's reach, or where float64 ends) it is 1e-300, which no number of
        votes reaches.
        """
        norm = self.norm_or_own(norm)
        relative, absolute = RADIUS_MARGIN
        stretched = (radius + absolute) / (1.0 - relative)
        if norm > self.norm:
            stretched *= float(dim) ** (1.0 / self.norm - 1.0 / norm)
        tail, closer, steps = self._tail(stretched), _CLOSER, 0
        while tail > _LEAST_TAIL and not self.radius(tail=tail, rival=tail, norm=norm, dim=dim) > radius:
            tail *= 1.0 - closer
            steps += 1
            if steps > _PATIENCE:
                closer = min(0.5, 2.0 * closer)
        return max(tail, _LEAST_TAIL)


class RandomLaw(Law):
    """Random noise: votes are a sample of the answers, from a stream of random words for each image."""


class EnumeratedLaw(Law):
    """Noise with finitely many outcomes, all of which are evaluated: no chance, no key, no alpha.

    `_radius` gets the exact shares of votes, whole multiples of 1 / samples.
    """

    @property
    @abstractmethod
    def samples(self) -> int:
        """The number of outcomes; sample number i, from 0, is outcome i."""


class GridLaw(RandomLaw):
    """Independent whole steps of 1/255 on each coordinate, drawn by comparing random words with an exact table."""

    source: ClassVar[str] = "grid"

    @abstractmethod
    def _table(self) -> Table:
        """The distribution function of one coordinate, correct in every bit."""

    @final
    @property
    def table(self) -> Table:
        """The table that this noise is drawn from, and that its self-test compares it with."""
        return _table_of(self)

    @property
    def level(self) -> float:
        """The standard deviation of the noise on one coordinate, by its own table, pixels in [0, 1]."""
        return math.sqrt(self.table.moment(2)) / LEVELS


@lru_cache(maxsize=16)
def _table_of(law: GridLaw) -> Table:
    table = law._table()
    if not isinstance(table, Table):
        raise BadParameter(f"noise {law.name} must provide a Table of its distribution, got {type(table).__name__}")
    return table
