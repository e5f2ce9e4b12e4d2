"""Exact binomial confidence bounds, rounded so that a bound stays a bound in floating point.

Everything here speaks of the *small* probability: the tail 1 - pA of the winning class, and the probability pB of a
rival. Near p = 1 a float64 holds 1 - p far more precisely than p, and the radius lives on that difference.
"""

from __future__ import annotations

import math
from typing import Final

from scipy import special

from dsmooth.errors import BadParameter

__all__ = ["TAIL_MARGIN", "check_level", "clopper_pearson_upper"]

TAIL_MARGIN: Final = 1e-11
"""Relative amount by which an upper bound is raised: SciPy's inverse is within 3e-16 of 50-digit arithmetic."""


def check_level(alpha: float, name: str = "alpha") -> float:
    """alpha itself, a failure probability strictly between 0 and 1; raises BadParameter otherwise (also for NaN)."""
    try:
        value = float(alpha)
    except (TypeError, ValueError):
        value = math.nan
    if not 0.0 < value < 1.0:
        raise BadParameter(f"{name} must lie strictly between 0 and 1 (usual: 0.001), got {alpha!r}")
    return value


def clopper_pearson_upper(count: int, trials: int, alpha: float) -> float:
    """An upper bound on a probability that was seen `count` times in `trials` independent trials.

    The bound is below the truth with probability at most alpha, whatever the truth is; it lies in (0, 1]. With
    count = n - k it bounds 1 - p for k successes, which is the lower bound CPL(k, n, alpha) on p in the form that
    keeps its digits.

    Source: Clopper and Pearson 1934; U solves I_{1-U}(n - count, count + 1) = alpha.
    Raises BadParameter unless 0 <= count <= trials, trials >= 1 and 0 < alpha < 1.
    """
    alpha = check_level(alpha)
    if not 0 <= count <= trials or trials < 1:
        raise BadParameter(f"expected 0 <= count <= trials with trials >= 1, got count {count} of {trials} trials")
    if count == trials:
        return 1.0
    if count == 0:
        bound = -math.expm1(math.log(alpha) / trials)  # betainccinv loses digits here; this closed form does not
    else:
        bound = float(special.betainccinv(count + 1, trials - count, alpha))
    return min(1.0, bound * (1.0 + TAIL_MARGIN))
