"""A guess at the votes to come from those so far. Nothing here is a bound: it only saves votes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["predicted_share"]

Numbers = npt.NDArray[np.float64]


def predicted_share(misses: npt.ArrayLike, trials: npt.ArrayLike, to_come: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    """The parameters (a, b) of a beta law for the share of misses in `to_come` >= 2 trials, after `misses` in `trials`.

    The number of misses has the beta-binomial law (Jeffreys prior); the beta law has the mean and variance of its share.
    """
    seen, n, more = (np.asarray(value, dtype=np.float64) for value in (misses, trials, to_come))
    mean, weight = (seen + 0.5) / (n + 1.0), n + 1.0
    matched = more * (weight + 1.0) / (weight + more) - 1.0
    return mean * matched, (1.0 - mean) * matched
