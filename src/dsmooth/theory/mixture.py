"""Evidence that may be looked at at any time: the truncated beta mixture.

E_n(q) is the likelihood of n votes averaged over the probabilities above q, divided by their likelihood at q:

    E_n(q) = B(k + 1/2, n - k + 1/2) S(q; k + 1/2, n - k + 1/2) / (B(1/2, 1/2) S(q; 1/2, 1/2) q^k (1 - q)^(n - k)),

where k of n trials were for the class and S = 1 - I is the upper incomplete beta function. If P(class) <= q, the chance
that E_n(q) ever reaches 1/level, at whatever n, is at most level (Ville 1939); docs/theory.md, claim 11. As in bounds.py,
everything is written with the small numbers: the tail 1 - q, and the misses n - k.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_level

__all__ = ["MOST_TRIALS", "log_evidence", "most_misses"]

MOST_TRIALS: Final = 10_000_000
"""Beyond so many trials the terms of log E are too large to be subtracted within _LOG_MARGIN."""

_LOG_MARGIN: Final = 1e-6
"""Subtracted from every log E: the terms that cancel are below 2e8 at MOST_TRIALS, and float64 keeps them to 1e-7."""

Counts = npt.NDArray[np.int64]


def log_evidence(misses: npt.ArrayLike, trials: npt.ArrayLike, tail: float) -> npt.NDArray[np.float64]:
    """log E_n(1 - tail) from `misses` of `trials`, never above the exact value; -inf where misses >= trials * tail.

    There E is below 1 anyway (every probability above q explains the votes worse than q does), and the formula would divide
    numbers that underflow.

    Source: docs/theory.md, claim 11; Ville 1939; Waudby-Smith and Ramdas 2024 for the mixture.
    """
    from scipy import special

    tail = check_level(tail, "the tail")
    m, n = np.asarray(misses, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if np.any(n > MOST_TRIALS):
        raise BadParameter(f"expected at most {MOST_TRIALS:,} trials, got {int(np.max(n)):,}")
    k = n - m
    above = special.betainc(m + 0.5, k + 0.5, tail)  # S(q; k + 1/2, m + 1/2), and at least about 1/2 where it is used
    prior = 2.0 * math.asin(math.sqrt(tail))  # B(1/2, 1/2) S(q; 1/2, 1/2)
    with np.errstate(divide="ignore"):
        value = special.betaln(k + 0.5, m + 0.5) + np.log(above) - math.log(prior)
    value = value - k * math.log1p(-tail) - m * math.log(tail) - _LOG_MARGIN
    return np.where(m < n * tail, value, -np.inf)


def most_misses(trials: npt.ArrayLike, tail: float, level: float) -> Counts:
    """For each number of trials, the most misses with which E_n(1 - tail) >= 1/level; -1 where even none is not enough.

    E falls as the misses grow (it averages ratios that do), so a look is a comparison with this number.
    """
    n = np.asarray(trials, dtype=np.int64)
    enough = -math.log(check_level(level))
    low, high = np.full_like(n, -1), n.copy()  # low has the evidence (or is -1), high has not
    while np.any(high - low > 1):
        middle = (low + high) // 2
        convinces = log_evidence(np.maximum(middle, 0), n, tail) >= enough
        low = np.where((middle >= 0) & convinces, middle, low)
        high = np.where((middle >= 0) & ~convinces, middle, high)
    return low
