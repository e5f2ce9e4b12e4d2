"""Several noise levels as one classifier: the largest sigma at which a label has a majority decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import LEVEL_MARGIN, check_level, clopper_pearson_upper, round_down
from dsmooth.theory.certifiers import Certifier, Cohen
from dsmooth.theory.laws.base import Law
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.prediction import Prediction
from dsmooth.theory.votes import Label, Votes, selected

__all__ = ["Cascade", "CascadeCertificate", "OneScale", "ScaleVotes", "cascade_of", "is_one_scale", "majority"]

_NAME: Final = "cascade-"
_MOST: Final = 16


@dataclass(frozen=True, slots=True)
class ScaleVotes:
    """The votes at one scale for one image."""

    selection: Votes
    estimation: Votes


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeCertificate:
    """The certificate of a cascade for one image: like a Certificate, for all its scales together."""

    answer: Label | None
    radius: float
    norm: float
    alpha: float
    dim: int
    scale: Gaussian | None
    """The noise of the scale that decided; None for an abstention."""

    @property
    def abstained(self) -> bool:
        return self.answer is None

    def __str__(self) -> str:
        if self.answer is None or self.scale is None:
            return f"abstain (alpha {self.alpha:g})"
        return (
            f"{self.answer}: no change below l{self.norm:g} distance {round_down(self.radius)} "
            f"(at sigma {self.scale.sigma:g}, alpha {self.alpha:g})"
        )


@dataclass(frozen=True, slots=True)
class Cascade:
    """The classifier whose answer is the label with a probability above 1/2 at the largest sigma where there is one.

    sigmas: two or more, kept in falling order. If no label has such a probability at any of them, it abstains.

    Source: Jeong and Shin 2023 (arXiv 2310.16779) with 1/2 for their threshold; bounds and levels as in docs/theory.md,
    claim 23.
    """

    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        sigmas = tuple(sorted({Gaussian(sigma).sigma for sigma in self.sigmas}, reverse=True))
        if not 2 <= len(sigmas) <= _MOST or len(sigmas) < len(self.sigmas):
            raise BadParameter(f"a cascade needs 2 to {_MOST} different sigmas, got {list(self.sigmas)}")
        object.__setattr__(self, "sigmas", sigmas)

    @property
    def laws(self) -> tuple[Gaussian, ...]:
        """The scales, strongest first."""
        return tuple(map(Gaussian, self.sigmas))

    @property
    def bound(self) -> OneScale:
        """The bound that the votes of one scale are drawn for; its name identifies the cascade."""
        return OneScale(self)

    def certify(
        self,
        scales: Sequence[ScaleVotes],
        *,
        alpha: float,
        norm: float | None = None,
        dim: int,
        doubtful: Sequence[int] = (),
    ) -> CascadeCertificate:
        """The certificate of the votes of the scales that were reached, strongest first.

        An image reaches the next scale where no answer has a `majority` of the selection votes. doubtful: how many of the
        estimation votes of each scale may be wrong; they are charged against the claim. Raises BadParameter for votes of
        more or fewer scales than that.
        """
        alpha = check_level(alpha)
        decided = [majority(votes.selection) for votes in scales]
        reached = len(scales)
        if any(label is not None for label in decided[:-1]) or not 0 < reached <= len(self.sigmas):
            raise BadParameter(
                f"expected votes of 1 to {len(self.sigmas)} scales, of which only the last may have a majority of its "
                f"selection votes, got {reached}"
            )
        answer = decided[-1]
        if answer is None and reached < len(self.sigmas):
            raise BadParameter("expected votes of the next scale too: no label has a majority of these selection votes")
        law = self.laws[reached - 1]
        norm, radius = law.norm_or_own(norm), 0.0
        if answer is not None:
            # what may keep the cascade from this answer: at its own scale everything else, at stronger ones any one rival
            votes = [each.estimation for each in scales]
            against = [each.strongest_rival(answer) for each in votes[:-1]] + [votes[-1].trials - votes[-1].of(answer)]
            against = [count + more for count, more in zip(against, doubtful or [0] * reached, strict=True)]
            radius = min(
                _radius(each, clopper_pearson_upper(min(count, drawn.trials), drawn.trials, alpha), norm, dim)
                for each, count, drawn in zip(self.laws, against, votes, strict=False)
            )
        promised = radius > 0.0
        return CascadeCertificate(
            answer=answer if promised else None,
            radius=radius if promised else 0.0,
            norm=norm,
            alpha=alpha,
            dim=dim,
            scale=law if promised else None,
        )

    def level(self, alpha: float) -> float:
        """The share of alpha for each scale in `predict`, where its votes decide both whether it answers and with what."""
        return check_level(alpha) / len(self.sigmas)

    def predict(self, scales: Sequence[Votes], *, alpha: float) -> Prediction | None:
        """The answer from the prediction votes of the first scales, strongest first; None if votes of the next are needed.

        With probability at least 1 - alpha an answer is the cascade's.
        """
        from scipy import special  # help is written without it

        level = self.level(alpha)
        if not 0 < len(scales) <= len(self.sigmas):
            raise BadParameter(f"expected votes of 1 to {len(self.sigmas)} scales, got {len(scales)}")
        votes = scales[-1]
        ranked = votes.ranked()
        label, most = ranked[0] if ranked else (None, 0)
        if clopper_pearson_upper(most + votes.missing, votes.trials, level) <= 0.5:
            return None if len(scales) < len(self.sigmas) else Prediction(None, 1.0, alpha, votes)
        # 2 P(Bin(n, 1/2) >= most), raised by the same margin as every other tail, once for each scale
        tail = float(special.betainc(most, votes.trials - most + 1, 0.5)) * (1.0 + LEVEL_MARGIN) if most else 1.0
        p_value = min(1.0, 2.0 * tail * len(self.sigmas))
        return Prediction(label if p_value <= alpha else None, p_value, alpha, votes)


@dataclass(frozen=True, slots=True)
class OneScale(Certifier):
    """Cohen's rule for one scale of a cascade.

    It certifies the classifier that is smoothed at this scale alone. The cascade's certificate needs the votes of several.
    """

    cascade: Cascade

    @property
    def name(self) -> str:
        """cascade-0.5,0.25, by which questions name the cascade that their votes belong to."""
        return _NAME + ",".join(map(repr, self.cascade.sigmas))

    def _bounds(
        self, label: Label, selection: Votes, estimation: Votes, law: Law, *, alpha: float, weight: float
    ) -> tuple[float, float]:
        if law not in self.cascade.laws:
            raise BadParameter(f"the bound {self.name} is for Gaussian noise of one of its sigmas, got {law}")
        return Cohen()._bounds(label, selection, estimation, law, alpha=alpha, weight=weight)


def _radius(law: Gaussian, tail: float, norm: float, dim: int) -> float:
    """How far away an event that has at most this probability here still has at most one half."""
    return law.radius(tail=tail, rival=tail, norm=norm, dim=dim)


def majority(selection: Votes) -> Label | None:
    """The label with more than half of the selection votes, the missing ones included; None where there is none."""
    label = selected(selection)
    return label if label is not None and 2 * selection.of(label) > selection.trials else None


def cascade_of(bound: str) -> Cascade:
    """The cascade that a bound of this name belongs to; raises BadParameter for any other bound."""
    try:
        cascade = Cascade(tuple(map(float, bound.removeprefix(_NAME).split(","))))
    except ValueError:
        cascade = None
    if cascade is None or cascade.bound.name != bound:
        raise BadParameter(f"expected a bound such as cascade-0.5,0.25, of sigmas that fall, got {bound[:80]!r}")
    return cascade


def is_one_scale(bound: str) -> bool:
    """Whether a bound of this name belongs to a cascade."""
    return bound.startswith(_NAME)
