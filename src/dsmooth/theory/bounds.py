"""Exact binomial confidence bounds, rounded so that a bound stays a bound in floating point.

Everything here is in terms of the *small* probability: the tail 1 - pA of the top class, and the probability pB of a
rival. Near p = 1 a float64 holds 1 - p far more precisely than p, and the radius depends on that difference.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from dsmooth.errors import BadParameter

__all__ = [
    "LEAST_RANDOMISED",
    "LEVEL_MARGIN",
    "check_count",
    "check_level",
    "check_seed",
    "clopper_pearson_upper",
    "number_or_nan",
    "round_down",
    "shown",
    "weight_of",
]

LEVEL_MARGIN: Final = 1e-9
"""Relative amount by which every level is lowered: SciPy's incomplete beta function is within 3e-11 of exact arithmetic
up to 1e9 trials. (Its *inverse* is not: it was found 0.9 % below the truth. Hence the search below.)"""

LEAST_RANDOMISED: Final = 1e-9
"""Below which no randomised bound goes: where W is at most alpha and nothing was counted, no probability is rejected."""

_MOST_TRIALS: Final = 10**12


def number_or_nan(value: object) -> float:
    """An integer or float of Python or NumPy as a float; NaN for anything else: text, True, what float64 cannot hold."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def check_level(alpha: float, name: str = "alpha") -> float:
    """alpha itself, a failure probability strictly between 0 and 1; raises BadParameter otherwise (also for NaN)."""
    value = number_or_nan(alpha)
    if not 0.0 < value < 1.0:
        raise BadParameter(f"{name} must lie strictly between 0 and 1 (usual: 0.001), got {shown(alpha)}")
    return value


def check_count(value: object, name: str, *, least: int = 1, most: int = 10**9) -> int:
    """The number itself, an integer of Python or NumPy within the limits; raises BadParameter otherwise (also for True).

    1e9 is as many trials as the bounds are tested for.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    number = int(value) if whole else least - 1  # type: ignore[call-overload]
    if number < least:
        raise BadParameter(f"{name} must be a whole number of at least {least}, got {shown(value)}")
    if number > most:
        raise BadParameter(f"{name} must be a whole number of at most {most:,}, got {shown(value)}")
    return number


def shown(value: object) -> str:
    """The value for a message; Python itself refuses to write very long integers down."""
    return f"one of {value.bit_length()} bits" if isinstance(value, int) and value.bit_length() > 128 else repr(value)


def check_seed(value: object) -> int:
    """The seed itself, a whole number that every generator here takes; raises BadParameter otherwise."""
    return check_count(value, "seed", least=0, most=2**63 - 1)


def clopper_pearson_upper(count: int, trials: int, alpha: float, *, weight: float = 1.0) -> float:
    """An upper bound on the probability of an event that occurred `count` times in `trials` independent trials.

    The bound is below the truth with probability at most alpha, whatever the truth is; it lies in (0, 1]. With
    count = n - k it bounds 1 - p for k successes, which is the lower bound CPL(k, n, alpha) on p in the form that
    keeps its digits.

    weight: W of the randomised bound, in (0, 1]. Where W is drawn independently of the count and P(W <= t) <= t for all t,
    the probability alpha is over both. It grows with the count and with W, and W = 1 is the bound of Clopper and Pearson.

    Source: Clopper and Pearson 1934; at the bound U, P(Bin(trials, U) <= count) = alpha. Stevens 1950 for the randomised
    one: P(Bin(trials, U) < count) + W P(Bin(trials, U) = count) = alpha; docs/theory.md, claim 25.
    Raises BadParameter unless 0 <= count <= trials, trials >= 1, 0 < alpha < 1 and 0 < weight <= 1.
    """
    alpha, trials = check_level(alpha), check_count(trials, "trials", most=_MOST_TRIALS)
    count = check_count(count, "count", least=0, most=trials)
    if not 0.0 < number_or_nan(weight) <= 1.0:
        raise BadParameter(f"expected the weight of a bound above 0 and at most 1, got {shown(weight)}")
    bound = _upper(count, trials, alpha * (1.0 - LEVEL_MARGIN), weight)
    return bound if weight == 1.0 else max(bound, LEAST_RANDOMISED)


def weight_of(stream: bytes | None) -> float:
    """W of a randomised bound from the 16 bytes of its stream: a multiple of 2^-53 in (0, 1], never below the exact one.

    None: there is no such stream, and W is 1.
    """
    return 1.0 if stream is None else ((int.from_bytes(stream[:8], "big") >> 11) + 1) / 2.0**53


@lru_cache(maxsize=4096)
def _upper(count: int, trials: int, alpha: float, weight: float) -> float:
    """A float U with P(Bin(trials, U) < count) + weight P(Bin(trials, U) = count) <= alpha, the least but for the last bits.

    0 where that holds for every U above 0.
    """
    if count == trials:
        return 1.0
    if count == 0:
        return -math.expm1(min(0.0, math.log(alpha / weight)) / trials)
    from scipy import special  # here, and wherever it is used: help is written without it

    def exceeds(bound: float) -> bool:
        below = float(special.betaincc(count + 1, trials - count, bound))
        if weight < 1.0:
            below = weight * below + (1.0 - weight) * float(special.betaincc(count, trials - count + 1, bound))
        return not below <= alpha

    guess = min(float(special.betainccinv(count + 1, trials - count, alpha)), 1.0 - 2.0**-53)
    step = 1e-12
    low = high = guess
    while exceeds(high):
        high = min(1.0, high + step * guess)
        step *= 4.0
    step = 1e-12
    while not exceeds(low):
        low = max(0.0, low - step * guess)
        step *= 4.0
    while low < (middle := 0.5 * (low + high)) < high:
        if exceeds(middle):
            low = middle
        else:
            high = middle
    return high


def round_down(value: float, places: int = 4) -> str:
    """The number as text with `places` decimals, rounded down: for numbers that are guarantees."""
    text = f"{value:.{places + 20}f}"  # a float64 of this size has no digits beyond; cutting them off rounds down
    return text[: text.index(".") + places + 1]
