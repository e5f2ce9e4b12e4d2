"""What a replay of recorded votes shows: how many differences rounding explains, and how likely made-up votes are missed.

Networks round differently on another machine, backend or library, so votes near a decision boundary may change. What a
record states about its machine excuses nothing: differences are judged against what rounding causes, and those that are
tolerated are charged against the claim.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from dsmooth.theory.bounds import clopper_pearson_upper

__all__ = ["CONFIDENCE", "FALSE_ALARM", "missed", "most_wrong", "tolerated"]

CONFIDENCE: Final = 1e-3
"""Probability with which more votes are wrong than are charged."""

FALSE_ALARM: Final = 1e-9
"""Probability with which honest votes are called invented."""

_HONEST: Final = {"fp32": 0.02, "tf32": 0.06, "bf16": 0.15}
"""The largest part of the votes that honest rounding changes: about twice what was measured (docs/results.md)."""


def tolerated(asked: int, dtype: str, alarm: float = FALSE_ALARM) -> int:
    """How many of the recomputed votes may differ: honest votes exceed it with probability at most `alarm`."""
    rate = _HONEST.get(dtype, _HONEST["bf16"])
    low, high = -1, asked  # more than `high` differ with at most that probability; more than `low` with a larger one
    while high - low > 1:
        middle = (low + high) // 2
        beyond = float(special.betainc(middle + 1, asked - middle, rate)) if middle >= 0 else 1.0
        low, high = (low, middle) if beyond <= alarm else (middle, high)
    return high


def missed(asked: int, limit: int, invented: float, of: int) -> float:
    """The probability that so many of `of` votes, asked for again, show at most `limit` differences.

    `invented` is the part of them that is not the networks' own, chosen before anybody knows which are asked for again:
    their number among those asked for has a hypergeometric law.
    """
    wrong = math.ceil(invented * of)
    found = np.arange(max(0, asked + wrong - of), min(limit, asked, wrong) + 1)
    logs = _choose(wrong, found) + _choose(of - wrong, asked - found) - _choose(of, asked)
    return min(1.0, float(np.exp(logs).sum()))


def most_wrong(different: int, asked: int, of: int, level: float = CONFIDENCE) -> int:
    """How many of `of` votes may be wrong, after so many of those that were asked for again differed.

    More are with probability at most `level`, whoever chose which; exact where all were asked for.
    """
    if asked == of:
        return different
    if not asked:
        return of
    return min(of, int(clopper_pearson_upper(different, asked, level) * of) + 1)


def _choose(n: int, k: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The logarithm of a binomial coefficient."""
    few = np.asarray(k, dtype=np.float64)
    return np.asarray(special.gammaln(n + 1) - special.gammaln(few + 1) - special.gammaln(n - few + 1))
