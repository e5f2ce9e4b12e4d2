"""How the number of votes is decided, and what votes that were drawn in that way can certify."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_count, check_level, number_or_nan, shown
from dsmooth.theory.certifiers import Certificate, Certifier, Exact
from dsmooth.theory.covers import CoverRule, CoverVotes
from dsmooth.theory.laws.base import EnumeratedLaw, Law
from dsmooth.theory.mixture import MOST_TRIALS
from dsmooth.theory.pilot import PilotSizes, Sizes
from dsmooth.theory.rivals import RivalsRule
from dsmooth.theory.rules import certifier_named
from dsmooth.theory.stopping import RadiiRule, StoppingRule
from dsmooth.theory.threats.base import Threat
from dsmooth.theory.threats.known import threat_from_json
from dsmooth.theory.top_k import TopK
from dsmooth.theory.votes import StoppedVotes, Votes

__all__ = ["FIXED", "MODES", "Demand", "Mode", "Outcome", "Plan"]

MODES: Final = ("fixed", "curve", "decision", "radius", "cover")

_ALL_VOTES: Final = 0.1  # sigmas of radius that n votes cost by default: about 2 % of the average radius are given up

_COVER_RADII: Final = (0.5, 1.0, 2.0)  # levels of the noise: those that covers have by default

_MOST_RADII: Final = 256  # each has looks of its own, which take time to work out

Demand = int | Sizes | StoppingRule | CoverRule
"""A number of votes: fixed; following from the selection votes; decided by looks on the way; or by looks at each centre."""

Outcome = Votes | StoppedVotes | CoverVotes
"""What came out of the estimation, in the type that says how the votes were drawn."""


class Plan(Protocol):
    """How many estimation votes an image gets, and the certificate that follows from them."""

    @property
    def name(self) -> str: ...

    @property
    def demand(self) -> Demand: ...

    @property
    def randomised(self) -> bool:
        """Whether the certificate depends on W, the `weight` of a randomised bound."""

    def certify(self, selection: Votes, estimation: Any, dim: int, weight: float = 1.0) -> Certificate:
        """Raises BadParameter for an Outcome of another kind than its own demand brings."""
        ...


@dataclass(frozen=True, slots=True)
class _WithoutLooks:
    """A number of votes that no estimation vote has a part in, and a bound for such a number."""

    demand: int | Sizes
    certifier: Certifier
    law: Law
    alpha: float
    norm: float

    @property
    def name(self) -> str:
        return self.certifier.name

    @property
    def randomised(self) -> bool:
        return self.certifier.randomised

    def certify(self, selection: Votes, estimation: Any, dim: int, weight: float = 1.0) -> Certificate:
        # the certifier refuses StoppedVotes, in its own words
        return self.certifier.certify(
            selection,
            estimation,
            self.law,
            alpha=self.alpha,
            norm=self.norm,
            dim=dim,
            weight=weight,
        )


@dataclass(frozen=True, slots=True)
class Mode:
    """How many votes an image gets, at most n.

    fixed: exactly n, for comparison with papers.
    curve: which of `radii` hold? Stops once that is known.
    decision: does the one radius in `radii` hold? Stops once that is known.
    rivals: curve and decision also bound the strongest rival's probability, to certify below P(answer) = 1/2 too.
    radius: a number chosen from the selection votes, if a vote costs `price` sigmas of radius (by default 0.1 / n).
    cover: does the answer hold at every image of the family `against`? At most n votes at each centre of a cover, whose
        radius is one of `radii` (by default 0.5, 1 and 2 sigma).
    """

    name: str = "fixed"
    radii: tuple[float, ...] = ()
    price: float | None = None
    against: Threat | None = None
    rivals: bool = False

    def __post_init__(self) -> None:
        if self.name not in MODES:
            raise BadParameter(f"mode must be one of {', '.join(MODES)}, got {self.name!r}")
        radii = tuple(sorted({_number(radius, "radii") for radius in self.radii}))
        if len(radii) > _MOST_RADII:
            raise BadParameter(f"expected at most {_MOST_RADII} radii, got {len(radii)}")
        if self.name == "decision" and len(radii) != 1:
            raise BadParameter(f"mode decision needs one radius, got {list(radii) or 'none'}")
        if self.name == "curve" and not radii:
            raise BadParameter("mode curve needs radii, got none")
        if self.against is not None and self.name != "cover":
            raise BadParameter(f"a family of transformations belongs to mode cover, got mode {self.name}")
        if self.name == "cover" and (not isinstance(self.against, Threat) or 0.0 in radii):
            raise BadParameter(f"mode cover needs a family of transformations and radii above 0, got {list(radii)}")
        if self.name in ("fixed", "radius") and radii:
            raise BadParameter(f"radii belong to the modes curve and decision, got {list(radii)} with mode {self.name}")
        if not isinstance(self.rivals, bool) or (self.rivals and self.name not in ("curve", "decision")):
            raise BadParameter(
                f"rivals belong to the modes curve and decision, got {self.rivals!r} with mode {self.name}"
            )
        if self.name != "radius" and self.price is not None:
            raise BadParameter(f"the price of a vote (lambda) belongs to mode radius, got mode {self.name}")
        object.__setattr__(self, "radii", radii)
        if self.price is not None:
            object.__setattr__(self, "price", _number(self.price, "lambda"))

    @property
    def looks(self) -> bool:
        """Whether it can stop early."""
        return bool(self.radii)

    def settled(self, law: Law, n: int) -> Mode:
        """The mode with its default price or radii filled in."""
        if self.name == "radius" and self.price is None:
            return replace(self, price=_ALL_VOTES / n)
        if self.name == "cover" and not self.radii:
            return replace(self, radii=tuple(times * law.level for times in _COVER_RADII))
        return self

    def plan(self, certifier: Certifier | str, law: Law, *, n: int, alpha: float, norm: float | None = None) -> Plan:
        """The mode with its numbers. `certifier`, or its name, is the bound of modes without looks; others bring theirs.

        An enumerated law leaves no choice: all of its outcomes are evaluated, and the certificate is exact.
        """
        if isinstance(law, EnumeratedLaw):
            return Exact(law, law.norm_or_own(norm))
        n, alpha, norm = check_count(n, "n"), check_level(alpha), law.norm_or_own(norm)
        if self.name != "fixed" and n > MOST_TRIALS:
            raise BadParameter(f"n must be at most {MOST_TRIALS:,} in mode {self.name}, got {n:,}")
        bound = certifier_named(certifier) if isinstance(certifier, str) else certifier
        if (self.looks or self.against is not None) and (bound.randomised or isinstance(bound, TopK)):
            raise BadParameter(f"mode {self.name} has its own bound, got {bound.name}, which is for fixed and radius")
        if self.against is not None:
            if norm != law.norm:
                raise BadParameter(f"a cover is measured in l2: leave out --norm, got {norm:g}")
            return CoverRule(threat=self.against, radii=self.settled(law, n).radii, most=n, law=law, alpha=alpha)
        if self.looks:
            rule = RivalsRule if self.rivals else RadiiRule
            return rule(radii=self.radii, most=n, law=law, alpha=alpha, norm=norm)
        price = self.settled(law, n).price
        demand = n if price is None else PilotSizes(n, alpha, price)
        return _WithoutLooks(demand, bound, law, alpha, norm)

    def to_json(self) -> dict[str, Any]:
        """The mode as it stands in records."""
        value: dict[str, Any] = {"name": self.name}
        if self.radii:
            value["radii"] = list(self.radii)
        if self.price is not None:
            value["lambda"] = self.price
        if self.against is not None:
            value["against"] = self.against.to_json()
        if self.rivals:
            value["rivals"] = True
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Mode:
        """The mode again; raises BadParameter for anything that `to_json` does not write."""
        mode = cls(
            value.get("name", ""),
            tuple(value.get("radii", ())),
            value.get("lambda"),
            threat_from_json(value["against"]) if "against" in value else None,
            value.get("rivals", False),
        )
        if mode.to_json() != value:
            raise BadParameter(f"expected a mode, its radii or its lambda, got {value}")
        return mode


FIXED: Final = Mode()


def _number(value: object, name: str) -> float:
    number = number_or_nan(value)
    if not 0.0 <= number < math.inf:
        raise BadParameter(f"{name} must be finite numbers of at least 0, got {shown(value)}")
    return number + 0.0  # -0.0 would be the same mode in another spelling, and the noise follows from the spelling
