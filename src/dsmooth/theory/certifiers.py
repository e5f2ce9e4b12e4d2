"""Votes in, certificate out."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_level, clopper_pearson_upper, round_down
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.base import EnumeratedLaw, Law
from dsmooth.theory.threats.base import Threat
from dsmooth.theory.votes import Label, StoppedVotes, Votes, selected

__all__ = [
    "Certificate",
    "Certifier",
    "Cohen",
    "Exact",
    "Multiclass",
    "conclude",
    "foremost",
    "settled",
]

_SHARE: Final = 0.9
RANDOMISED: Final = "-randomised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The certificate of one image.

    With probability at least 1 - alpha over the noise, the smoothed classifier answers `answer` at every image closer
    than `radius` in the l_`norm` distance, with pixels in [0, 1]. For an abstention `answer` is None and the radius 0.
    """

    answer: Label | None
    radius: float
    norm: float
    alpha: float
    law: Law
    dim: int
    certifier: str
    selection: Votes
    estimation: Votes
    tail: float
    """An upper bound on 1 - P(answer), at the share of alpha that the certifier spends on it."""
    rival: float
    """An upper bound on the probability of any other label; for `top` above 1, the quantity that replaces it."""
    top: int = 1
    """k of a top-k certificate: the answer stays among this many most probable labels."""
    threat: Threat | None = None
    """The family at whose images the answer also holds, and within the radius of each of its centres; else None."""
    centres: int = 0
    """Of the cover of this family."""

    @property
    def abstained(self) -> bool:
        return self.answer is None

    @property
    def label(self) -> Label | None:
        """The former name of `answer`; a label is what an image is known to show."""
        warnings.warn("Certificate.label is now Certificate.answer", DeprecationWarning, stacklevel=2)
        return self.answer

    @property
    def against(self) -> str:
        """What the certificate covers besides small changes, in words and numbers; usually empty."""
        return "" if self.threat is None else f"{self.threat.words} ({self.centres} centre{'s' * (self.centres != 1)})"

    @property
    def extents(self) -> dict[str, float]:
        """How far each lighting parameter may change alone, if the noise includes it; pixels in [0, 1]."""
        return self.law.allowed(self.radius if self.norm == self.law.norm else self.radius_in(self.law.norm))

    @property
    def allowed(self) -> dict[str, str]:
        """The same in levels, rounded down: 24/255."""
        return {name: f"{int(LEVELS * extent)}/{LEVELS}" for name, extent in self.extents.items()}

    def covers(self, image: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
        """Whether the certificate of `image` covers `other`; both (H, W, C) bytes of one shape."""
        if image.dtype != np.uint8 or other.dtype != np.uint8 or image.shape != other.shape or image.size != self.dim:
            raise BadParameter(
                f"expected two uint8 images of {self.dim} numbers and one shape, "
                f"got {image.dtype} {image.shape} and {other.dtype} {other.shape}"
            )
        steps, radius = other.astype(np.int64) - image, Fraction(self.radius)
        return self.law.covers(steps, radius, norm=self.norm)

    def radius_in(self, norm: float) -> float:
        """The radius in another norm; 0.0 for an abstention."""
        return (
            0.0 if self.answer is None else self.law.radius(tail=self.tail, rival=self.rival, norm=norm, dim=self.dim)
        )

    def __str__(self) -> str:
        if self.answer is None:
            return f"abstain ({self.estimation.trials} votes, alpha {self.alpha:g})"
        alone = "".join(f", or of {name} by {extent}" for name, extent in self.allowed.items())
        alone += f", nor {self.against}," if self.against else ""
        place = f" stays in the top {self.top}" if self.top > 1 else ""
        return (
            f"{self.answer}{place}: no change below l{self.norm:g} distance {round_down(self.radius)}{alone} "
            f"({self.estimation.of(self.answer)} of {self.estimation.trials} votes, alpha {self.alpha:g})"
        )


class Certifier(ABC):
    """Turns votes into bounds on P(answer) and on the probability of every other label, and those into a certificate.

    The number of votes must be fixed before the first of them is seen. Rules that stop early are StoppingRules
    (stopping.py), and their StoppedVotes are refused here. Subclasses are frozen dataclasses of their settings.
    """

    randomised: bool = False
    """Whether it uses `weight`."""
    top: int = 1
    """k of a top-k certificate."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As it stands in questions and records."""

    @abstractmethod
    def _bounds(
        self, label: Label, selection: Votes, estimation: Votes, law: Law, *, alpha: float, weight: float
    ) -> tuple[float, float]:
        """`tail` and `rival` of the certificate, both right with probability at least 1 - alpha; of at least one trial."""

    @final
    def certify(
        self,
        selection: Votes,
        estimation: Votes,
        law: Law,
        *,
        alpha: float,
        norm: float | None = None,
        dim: int,
        weight: float = 1.0,
    ) -> Certificate:
        """The certificate of the label that the selection votes choose, or an abstention.

        weight: W of a randomised bound, drawn independently of all votes; 1 is Clopper and Pearson's bound.
        """
        alpha, label = check_level(alpha), settled(selection, estimation)
        tail = rival = 1.0
        if label is not None and estimation.trials:
            weight = weight if self.randomised else 1.0
            tail, rival = self._bounds(label, selection, estimation, law, alpha=alpha, weight=weight)
        return conclude(
            certifier=self.name,
            answer=label,
            tail=tail,
            rival=rival,
            selection=selection,
            estimation=estimation,
            law=law,
            alpha=alpha,
            norm=norm,
            dim=dim,
            top=self.top,
        )


@dataclass(frozen=True, slots=True)
class Cohen(Certifier):
    """The one-sided rule: a lower bound on pA at level alpha, and pB at most 1 - pA; abstains unless pA > 1/2.

    randomised: with Stevens's bound in place of Clopper and Pearson's; docs/theory.md, claim 25.

    Source: Cohen, Rosenfeld and Kolter 2019, Algorithm CERTIFY and Theorem 2.
    """

    randomised: bool = field(default=False, kw_only=True)

    @property
    def name(self) -> str:
        """cohen, or cohen-randomised."""
        return f"cohen{RANDOMISED * self.randomised}"

    def _bounds(
        self, label: Label, selection: Votes, estimation: Votes, law: Law, *, alpha: float, weight: float
    ) -> tuple[float, float]:
        misses, trials = estimation.trials - estimation.of(label), estimation.trials
        tail = clopper_pearson_upper(misses, trials, alpha, weight=weight)
        return tail, tail


@dataclass(frozen=True, slots=True)
class Multiclass(Certifier):
    """Bounds on pA and on the strongest rival's pB, from the same votes; certifies also below pA = 1/2.

    `share` of alpha goes to pA, the rest to pB. It is fixed before any vote is seen. No union over the rivals is needed:
    the bound is monotone in the count, and the largest count among the rivals is at least the true runner-up's.
    randomised: both bounds are Stevens's, with one W; docs/theory.md, claim 25.

    Source: Voracek 2024 (arXiv 2406.17830), Appendix B; docs/theory.md, claim 4.
    """

    share: float = _SHARE
    randomised: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_level(self.share, "the share of alpha that goes to the winner")

    @property
    def name(self) -> str:
        """multiclass, with the share where it is not the standard one: a record must say which rule it used."""
        share = "" if self.share == _SHARE else f"-{self.share!r}"
        return f"multiclass{share}{RANDOMISED * self.randomised}"

    def _bounds(
        self, label: Label, selection: Votes, estimation: Votes, law: Law, *, alpha: float, weight: float
    ) -> tuple[float, float]:
        misses, trials = estimation.trials - estimation.of(label), estimation.trials
        tail = clopper_pearson_upper(misses, trials, self.share * alpha, weight=weight)
        rivals, rest = estimation.strongest_rival(label), (1.0 - self.share) * alpha
        return tail, min(clopper_pearson_upper(rivals, trials, rest, weight=weight), tail)


@dataclass(frozen=True, slots=True)
class Exact:
    """For an EnumeratedLaw, all outcomes of which are evaluated: shares of votes are probabilities, and alpha is 0.

    The answer is the label with the most votes, the smallest in a tie. Missing votes count for its rivals, plus one vote
    where a rival would win a tie. There are no selection votes.
    """

    law: EnumeratedLaw
    norm: float
    name: ClassVar[str] = "exact"
    randomised: ClassVar[bool] = False

    @property
    def demand(self) -> int:
        """The votes of all outcomes."""
        return self.law.samples

    def certify(self, selection: Votes, estimation: Any, dim: int, weight: float = 1.0) -> Certificate:
        """The certificate of the votes of all outcomes; raises BadParameter for any others."""
        samples = self.law.samples
        if not isinstance(estimation, Votes) or estimation.trials != samples or selection.trials:
            raise BadParameter(f"expected the votes of all {samples} outcomes and no others, got {estimation}")
        label, lead, rival = foremost(estimation)
        return conclude(
            certifier=self.name,
            answer=label,
            tail=(samples - lead) / samples,
            rival=rival / samples,
            selection=selection,
            estimation=estimation,
            law=self.law,
            alpha=0.0,
            norm=self.norm,
            dim=dim,
        )


def foremost(votes: Votes) -> tuple[Label | None, int, int]:
    """The label with the most votes, the smallest of those with as many; its votes; and the most that a rival can have.

    A rival has the missing votes too, and one vote more where it would win a tie.
    """
    ranked = votes.ranked()
    if not ranked:
        return None, 0, votes.trials
    label, lead = ranked[0]
    others = (count + (_order(other) < _order(label)) for other, count in ranked[1:])
    return label, lead, votes.missing + max([1, *others])  # 1: a label never seen, that comes before


def _order(label: Label) -> tuple[str, Label]:
    """The order of labels with as many votes."""
    return str(type(label)), label


def settled(selection: Votes, estimation: object) -> Label | None:
    """The selected label, where the number of estimation votes is one that was settled before any of them was seen."""
    if isinstance(estimation, StoppedVotes):
        raise BadParameter(
            "this bound is for a number of votes fixed in advance, but these were drawn by a rule that "
            "can stop early: only that rule can certify from them"
        )
    return selected(selection)


def conclude(
    *,
    certifier: str,
    answer: Label | None,
    tail: float,
    rival: float,
    selection: Votes,
    estimation: Votes,
    law: Law,
    alpha: float,
    norm: float | None,
    dim: int,
    top: int = 1,
) -> Certificate:
    """The certificate of the bounds `tail` >= 1 - P(answer) and `rival` >= P(any other label), or an abstention."""
    norm = law.norm_or_own(norm)
    radius = 0.0 if answer is None else law.radius(tail=tail, rival=rival, norm=norm, dim=dim)
    if not radius > 0.0:  # the promise "no change below distance 0" is none
        answer, radius = None, 0.0
    return Certificate(
        answer=answer,
        radius=radius,
        norm=norm,
        alpha=alpha,
        law=law,
        dim=dim,
        certifier=certifier,
        selection=selection,
        estimation=estimation,
        tail=tail,
        rival=rival,
        top=top,
    )
