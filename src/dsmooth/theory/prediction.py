"""Votes in, prediction out: the most probable label, without a radius."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from dsmooth.theory.bounds import LEVEL_MARGIN, check_level
from dsmooth.theory.certifiers import foremost
from dsmooth.theory.top_k import TopK
from dsmooth.theory.votes import Label, Votes

__all__ = ["Prediction", "left_behind", "predict_exactly", "predict_votes"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The smoothed classifier's answer at one image, or None (abstain).

    With probability at least 1 - alpha an answer is the most probable label under the noise.
    """

    answer: Label | None
    p_value: float
    alpha: float
    votes: Votes

    @property
    def abstained(self) -> bool:
        return self.answer is None

    @property
    def label(self) -> Label | None:
        """The former name of `answer`; a label is what an image is known to show."""
        warnings.warn("Prediction.label is now Prediction.answer", DeprecationWarning, stacklevel=2)
        return self.answer

    def __str__(self) -> str:
        said = "abstain" if self.answer is None else str(self.answer)
        return f"{said} ({self.votes.trials} votes, p-value {self.p_value:.2g}, alpha {self.alpha:g})"


def predict_exactly(votes: Votes) -> Prediction:
    """The label that all outcomes of an enumerated law give, whatever the missing ones would have said; or abstention."""
    label, lead, rival = foremost(votes)
    return Prediction(label if lead >= rival else None, 0.0, 0.0, votes)


def left_behind(votes: Votes, label: Label, rule: TopK, alpha: float) -> bool:
    """Whether this label is surely none of the `rule.top` most probable: wrong with probability at most alpha.

    So many labels each have more votes than it and the missing together, beyond chance at alpha / classes.
    """
    from scipy import special

    level = check_level(alpha) / rule.classes
    own = votes.of(label) + votes.missing
    rivals = [count for other, count in votes.ranked() if other != label][: rule.top]
    return len(rivals) == rule.top and all(
        count > own and float(special.betainc(count, own + 1, 0.5)) * (1.0 + LEVEL_MARGIN) <= level for count in rivals
    )


def predict_votes(votes: Votes, alpha: float) -> Prediction:
    """The top label if it beats the runner-up beyond chance, else an abstention; missing votes count for the runner-up.

    Source: Cohen et al. 2019, PREDICT, by Hung and Fithian 2019: the two-sided binomial test of k1 in k1 + k2 at 1/2.
    """
    from scipy import special  # help is written without it

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
