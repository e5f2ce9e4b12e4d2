"""Votes in, certificate or prediction out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from scipy import special

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import LEVEL_MARGIN, check_level, clopper_pearson_upper
from dsmooth.theory.noises import Gaussian, Noise, check_norm

__all__ = [
    "CERTIFIERS",
    "Certificate",
    "Certifier",
    "Cohen",
    "Label",
    "Multiclass",
    "Prediction",
    "StoppedVotes",
    "Votes",
    "certifier_named",
    "conclude",
    "least_votes",
    "predict_votes",
    "round_down",
    "selected",
]

_SHARE: Final = 0.9

Label = int | str
"""What a classifier answers: a class index, or the name that an API gives."""


@dataclass(frozen=True, slots=True)
class Votes:
    """How many of `trials` answers went to each label; the trials without a usable answer are `missing`."""

    counts: Mapping[Label, int]
    trials: int

    def __post_init__(self) -> None:
        counts = {label: int(count) for label, count in self.counts.items() if count != 0}
        if self.trials < 0 or any(count < 0 for count in counts.values()) or sum(counts.values()) > self.trials:
            raise BadParameter(f"expected counts of at least 0 that sum to at most {self.trials} trials, got {counts}")
        object.__setattr__(self, "counts", counts)

    @property
    def missing(self) -> int:
        """Trials without a usable answer: failed queries, NaN rows, unknown labels."""
        return self.trials - sum(self.counts.values())

    def of(self, label: Label) -> int:
        """The votes for this label."""
        return self.counts.get(label, 0)

    def ranked(self) -> list[tuple[Label, int]]:
        """Labels by falling count; equal counts in order of label, so that the order is a function of the counts."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], str(type(item[0])), item[0]))

    def strongest_rival(self, label: Label) -> int:
        """The most votes that a label other than this one can have had: the missing count as its votes."""
        return max((count for other, count in self.counts.items() if other != label), default=0) + self.missing


@dataclass(frozen=True, slots=True)
class StoppedVotes:
    """Votes whose number was decided by looking at them. Only the rule that looked can conclude anything from them.

    They are no Votes on purpose: a bound for a number of trials fixed in advance, applied at the moment of one's choice,
    is wrong far more often than its alpha (from 5 % to 18 % with 20 looks).
    """

    last: Votes
    """All that were counted until the rule stopped."""
    best: Votes
    """Those counted at the look at which the rule held the most; none where it never held anything."""

    def __post_init__(self) -> None:
        part = self.best.missing <= self.last.missing and all(
            count <= self.last.of(label) for label, count in self.best.counts.items()
        )
        if not part:
            raise BadParameter(f"expected votes of an earlier look among {self.last}, got {self.best}")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is promised about one image.

    With probability at least 1 - alpha over the noise, the smoothed classifier answers `label` at every image closer
    than `radius` in the l_`norm` distance; pixels count in [0, 1]. `label` is None where nothing is promised (abstain),
    and the radius is then 0.
    """

    label: Label | None
    radius: float
    norm: float
    alpha: float
    noise: Noise
    dim: int
    certifier: str
    selection: Votes
    estimation: Votes
    tail: float
    """An upper bound on 1 - P(label), of the confidence that the certifier spends on it."""
    rival: float
    """An upper bound on the probability of any other label."""

    @property
    def abstained(self) -> bool:
        return self.label is None

    def radius_in(self, norm: float) -> float:
        """The same promise in another norm; 0.0 where the certificate abstained."""
        return 0.0 if self.label is None else self.noise.radius(self.tail, self.rival, norm=norm, dim=self.dim)

    def __str__(self) -> str:
        if self.label is None:
            return f"abstain ({self.estimation.trials} votes, alpha {self.alpha:g})"
        return (
            f"{self.label}: no change below l{self.norm:g} distance {round_down(self.radius)} "
            f"({self.estimation.of(self.label)} of {self.estimation.trials} votes, alpha {self.alpha:g})"
        )


class Certifier(Protocol):
    """Turns votes into bounds on pA and pB, and those into a certificate.

    The number of votes was fixed before the first of them was seen. There is no look: a rule that may look is a
    StoppingRule (stopping.py), and its StoppedVotes are refused here.
    """

    @property
    def name(self) -> str: ...

    def certify(
        self, selection: Votes, estimation: Votes, noise: Noise, *, alpha: float, norm: float = 2.0, dim: int
    ) -> Certificate: ...


@dataclass(frozen=True, slots=True)
class Cohen:
    """The one-sided rule: a lower bound on pA at level alpha, and pB at most 1 - pA; abstains unless pA > 1/2.

    Source: Cohen, Rosenfeld and Kolter 2019, Algorithm CERTIFY and Theorem 2.
    """

    name: str = field(default="cohen", init=False)

    def certify(
        self, selection: Votes, estimation: Votes, noise: Noise, *, alpha: float, norm: float = 2.0, dim: int
    ) -> Certificate:
        alpha, label = check_level(alpha), _settled(selection, estimation)
        count = 0 if label is None else estimation.of(label)
        tail = _upper(estimation.trials - count, estimation.trials, alpha)
        return conclude(self.name, label, tail, tail, selection, estimation, noise, alpha, norm, dim)


@dataclass(frozen=True, slots=True)
class Multiclass:
    """Bounds on pA and on the strongest rival's pB, from the same votes; certifies also below pA = 1/2.

    `share` of alpha goes to pA, the rest to pB. It is fixed before any vote is seen. No union over the rivals is needed:
    the bound is monotone in the count, and the largest count among the rivals is at least the true runner-up's.

    Source: Voracek 2024 (arXiv 2406.17830), Appendix B; docs/theory.md, claim 4.
    """

    share: float = _SHARE

    def __post_init__(self) -> None:
        check_level(self.share, "the share of alpha that goes to the winner")

    @property
    def name(self) -> str:
        """multiclass, with the share where it is not the standard one: a record must say which rule it used."""
        return "multiclass" if self.share == _SHARE else f"multiclass-{self.share!r}"

    def certify(
        self, selection: Votes, estimation: Votes, noise: Noise, *, alpha: float, norm: float = 2.0, dim: int
    ) -> Certificate:
        alpha, label = check_level(alpha), _settled(selection, estimation)
        count = 0 if label is None else estimation.of(label)
        tail = _upper(estimation.trials - count, estimation.trials, self.share * alpha)
        rivals = estimation.missing if label is None else estimation.strongest_rival(label)
        rival = min(_upper(rivals, estimation.trials, (1.0 - self.share) * alpha), tail)
        return conclude(self.name, label, tail, rival, selection, estimation, noise, alpha, norm, dim)


CERTIFIERS: Final[dict[str, type[Cohen] | type[Multiclass]]] = {"multiclass": Multiclass, "cohen": Cohen}


def certifier_named(name: str) -> Certifier:
    """The certifier of that name ("multiclass-0.5": with another share); raises BadParameter for an unknown one."""
    kind, _, share = name.partition("-")
    try:
        return Multiclass(float(share)) if kind == "multiclass" and share else CERTIFIERS[name]()
    except (KeyError, ValueError):
        raise BadParameter(f"bound must be one of {', '.join(CERTIFIERS)}, got {name!r}") from None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The smoothed classifier's answer at one image, or None (abstain).

    With probability at least 1 - alpha an answer that is given is the most probable label under the noise.
    """

    label: Label | None
    p_value: float
    alpha: float
    votes: Votes

    @property
    def abstained(self) -> bool:
        return self.label is None

    def __str__(self) -> str:
        said = "abstain" if self.label is None else str(self.label)
        return f"{said} ({self.votes.trials} votes, p-value {self.p_value:.2g}, alpha {self.alpha:g})"


def predict_votes(votes: Votes, alpha: float) -> Prediction:
    """The top label where it beats the runner-up beyond chance, else abstention; the missing vote for the runner-up.

    Source: Cohen et al. 2019, PREDICT, by Hung and Fithian 2019: the two-sided binomial test of k1 in k1 + k2 at 1/2.
    """
    alpha = check_level(alpha)
    ranked = votes.ranked()
    if not ranked:
        return Prediction(None, 1.0, alpha, votes)
    label, first = ranked[0]
    second = votes.strongest_rival(label)
    # P(Bin(k1 + k2, 1/2) >= k1), twice; raised by the same margin as every other tail
    p_value = 1.0 if first <= second else 2.0 * float(special.betainc(first, second + 1, 0.5)) * (1.0 + LEVEL_MARGIN)
    p_value = min(1.0, p_value)
    return Prediction(label if p_value <= alpha else None, p_value, alpha, votes)


def least_votes(certifier: Certifier, alpha: float) -> int:
    """The least n with which anything can be certified: with fewer votes even unanimity abstains."""
    noise, n = Gaussian(1.0), 1
    while certifier.certify(Votes({0: 1}, 1), Votes({0: n}, n), noise, alpha=alpha, dim=1).abstained:
        n += 1
    return n


def round_down(value: float, places: int = 4) -> str:
    """The number with so many decimals, never above it: for numbers that are a guarantee."""
    text = f"{value:.{places + 20}f}"  # a float64 of this size has no digits beyond; cutting them off rounds down
    return text[: text.index(".") + places + 1]


def selected(selection: Votes) -> Label | None:
    """The label to be certified, from the selection votes alone: anything else would spend the estimation twice."""
    if selection.trials < 1:
        raise BadParameter("expected at least one vote to select the label, got none")
    ranked = selection.ranked()
    return ranked[0][0] if ranked else None


def _settled(selection: Votes, estimation: object) -> Label | None:
    """The selected label, where the number of estimation votes is one that was settled before any of them was seen."""
    if isinstance(estimation, StoppedVotes):
        raise BadParameter(
            "this bound is for a number of votes fixed in advance, and these were looked at on the way: "
            "only the rule that looked can certify from them"
        )
    return selected(selection)


def _upper(count: int, trials: int, alpha: float) -> float:
    """The Clopper-Pearson bound, or 1 where nothing was asked."""
    return clopper_pearson_upper(count, trials, alpha) if trials else 1.0


def conclude(
    name: str,
    label: Label | None,
    tail: float,
    rival: float,
    selection: Votes,
    estimation: Votes,
    noise: Noise,
    alpha: float,
    norm: float,
    dim: int,
) -> Certificate:
    """The certificate of the bounds `tail` >= 1 - P(label) and `rival` >= P(any other label), or an abstention."""
    norm = check_norm(norm)
    radius = 0.0 if label is None else noise.radius(tail, rival, norm=norm, dim=dim)
    if not radius > 0.0:  # the promise "no change below distance 0" is none
        label, radius = None, 0.0
    return Certificate(label, radius, norm, alpha, noise, dim, name, selection, estimation, tail, rival)
