"""The rule of stopping.py with the strongest rival's probability bounded too, to certify below P(class A) = 1/2 as well.

Source: docs/theory.md, claim 28.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from dsmooth.theory.bounds import clopper_pearson_upper
from dsmooth.theory.mixture import log_evidence
from dsmooth.theory.predictive import predicted_share
from dsmooth.theory.stopping import FINAL_SHARE, HOPELESS, RadiiRule, Verdict, next_look
from dsmooth.theory.votes import Votes, selected

__all__ = ["RivalsRule", "anytime_upper"]

_SHARE: Final = 0.9
"""Of alpha, for class A, as in mode fixed; the rest is for its strongest rival."""
_CLOSE: Final = 1e-9  # relative width at which a bound is found


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalsRule(RadiiRule):
    """Certifies by bounds on P(class A) and on the strongest rival's, both of which may be looked at at any time.

    The looks are those of RadiiRule, and decide when enough is known of `radii`; the certificate names the radius that the
    bounds justify, which is at least the largest of them that held.
    """

    @property
    def name(self) -> str:
        """decision-multiclass (one radius) or curve-multiclass."""
        return f"{'decision' if len(self.radii) == 1 else 'curve'}-multiclass"

    def least_votes(self, dim: int) -> list[int]:
        return [math.ceil(math.log(FINAL_SHARE * _SHARE * self.alpha) / math.log1p(-tail)) for tail in self.tails(dim)]

    def look(self, selection: Votes, estimation: Votes, *, held: int, dim: int) -> Verdict:
        label = selected(selection)
        if label is None:
            return Verdict(0, None)
        later = next_look(estimation.trials, self.most)
        misses, rivals = estimation.trials - estimation.of(label), estimation.strongest_rival(label)
        tail, rival = self._bounds(misses, rivals, estimation.trials)
        held = max(held, self._holding(tail, rival, dim))
        if held == len(self.radii) or later is None:
            return Verdict(held, None)
        tail, rival = self._hoped(selection, misses, rivals, estimation.trials)
        return Verdict(held, later if self._holding(tail, rival, dim) > held else None)

    def _justified(self, selection: Votes, best: Votes, dim: int) -> tuple[float, float]:
        label = selected(selection)
        if label is None:
            return 1.0, 1.0
        tail, rival = self._bounds(best.trials - best.of(label), best.strongest_rival(label), best.trials)
        return (tail, rival) if self._holding(tail, rival, dim) else (1.0, 1.0)

    def _holding(self, tail: float, rival: float, dim: int) -> int:
        """How many of the radii these bounds justify."""
        radius = self.law.radius(tail=tail, rival=rival, norm=self.norm, dim=dim)
        return sum(radius > each for each in self.radii)

    def _bounds(self, misses: int, rivals: int, trials: int) -> tuple[float, float]:
        """Bounds on 1 - P(class A) and on any rival's probability after so many votes.

        By the evidence so far, or because the bound on all votes will hold even if all to come are for the rival.
        """
        to_come, bounds = self.most - trials, []
        for count, share in ((misses, _SHARE), (rivals, 1.0 - _SHARE)):
            final = clopper_pearson_upper(count + to_come, self.most, FINAL_SHARE * share * self.alpha)
            bounds.append(min(final, anytime_upper(count, trials, (1.0 - FINAL_SHARE) * share * self.alpha)))
        tail, rival = bounds
        return tail, min(rival, tail)

    def _hoped(self, selection: Votes, misses: int, rivals: int, trials: int) -> tuple[float, float]:
        """The bounds on all votes, if those to come are better than all but one in a hundred: a guess, which saves votes."""
        from scipy import special

        label, to_come = selected(selection), self.most - trials
        if label is None or to_come < 2:
            return 0.0, 0.0
        seen0 = (selection.trials - selection.of(label), selection.strongest_rival(label))
        bounds = []
        for count, before, share in zip((misses, rivals), seen0, (_SHARE, 1.0 - _SHARE), strict=True):
            a, b = predicted_share(count + before, trials + selection.trials, to_come)
            hoped = count + int(to_come * float(special.betaincinv(a, b, HOPELESS)))
            bounds.append(clopper_pearson_upper(hoped, self.most, FINAL_SHARE * share * self.alpha))
        tail, rival = bounds
        return tail, min(rival, tail)


@lru_cache(maxsize=1 << 16)
def anytime_upper(count: int, trials: int, level: float) -> float:
    """An upper bound on a probability that was seen `count` times in the first `trials` trials.

    That it is ever below the truth, at whatever number of trials, has probability at most level: the evidence of mixture.py
    rejects every larger probability.
    """
    enough = -math.log(level)
    low, high = (count / trials if trials else 1.0), 1.0
    if low == 1.0:
        return 1.0
    while high - low > _CLOSE * high:
        middle = 0.5 * (low + high)
        if middle < 1.0 and float(log_evidence(count, trials, middle)) >= enough:
            high = middle
        else:
            low = middle
    return high
