import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dsmooth.errors import BadParameter
from dsmooth.theory.mixture import MOST_TRIALS, log_evidence, most_misses
from support import CHANCE


def exact(misses, trials, tail):
    """log E by 30-digit quadrature of the mixture itself: theta = cos(phi)^2 makes the Jeffreys prior uniform in phi."""
    with mpmath.workdps(30):
        tail, hits = mpmath.mpf(tail), trials - misses
        reach = mpmath.asin(mpmath.sqrt(tail))
        peak, width = mpmath.asin(mpmath.sqrt(mpmath.mpf(misses) / trials)), 1 / mpmath.sqrt(trials)

        def ratio(phi):  # the likelihood at theta over the likelihood at q, the larger of which is taken out below
            s, c = mpmath.sin(phi), mpmath.cos(phi)
            exponent = hits * mpmath.log(c * c / (1 - tail)) + (misses * mpmath.log(s * s / tail) if misses else 0)
            return mpmath.exp(exponent - most)

        best = mpmath.mpf(misses) / trials
        most = hits * mpmath.log((1 - best) / (1 - tail)) + (misses * mpmath.log(best / tail) if misses else 0)
        cuts = [max(peak + step * width, 0) for step in (-20, -8, -4, -2, -1, 0, 1, 2, 4, 8, 20)]
        cuts = sorted({mpmath.mpf(0) + mpmath.mpf("1e-40"), *(cut for cut in cuts if 0 < cut < reach), reach})
        return float(most + mpmath.log(mpmath.quad(ratio, cuts) / reach))


@pytest.mark.parametrize("trials", [1, 30, 1000, 100_000, 10_000_000])
@pytest.mark.parametrize("tail", [0.49, 0.1587, 0.00135, 3e-5])
def test_the_evidence_is_below_the_integral_and_close_to_it(trials, tail):
    shown = 0
    for share in (0.0, 0.5, 0.9, 0.99, 0.9999):
        misses = math.floor(trials * tail * share)
        if misses < trials * tail:
            ours, truth = float(log_evidence(misses, trials, tail)), exact(misses, trials, tail)
            assert truth - 3e-6 <= ours <= truth + 1e-12, (misses, truth)
            shown += 1
    assert shown >= 4


@pytest.mark.parametrize("tail", [0.4, 0.1587, 0.02])
@pytest.mark.parametrize("n", [20, 200])
def test_at_the_border_the_mean_is_at_most_one(tail, n):
    misses = np.arange(n + 1)
    chances = stats.binom.pmf(misses, n, tail)
    with np.errstate(under="ignore"):
        mean = float((np.exp(log_evidence(misses, n, tail)) * chances).sum())
    assert mean <= 1.0
    # what is missing from 1 is the part below the border, where E is below 1 and taken for 0
    assert mean >= 1.0 - float(chances[misses >= n * tail].sum()) - 1e-5


@given(st.integers(1, 5000), st.floats(1e-4, 0.5), st.data())
def test_evidence_falls_with_every_miss_and_with_the_radius(n, tail, data):
    misses = np.arange(n + 1)
    values = log_evidence(misses, n, tail)
    assert np.all(values[1:] <= values[:-1] + 1e-9)
    assert np.all(np.isneginf(values[misses >= n * tail]))
    smaller = data.draw(st.floats(1e-5, 1.0).map(lambda share: share * tail))
    assert np.all(log_evidence(misses, n, max(smaller, 1e-9)) <= values + 1e-9)


@given(st.integers(1, 3000), st.floats(1e-3, 0.5), st.floats(1e-6, 0.5))
def test_the_most_misses_are_the_most(n, tail, level):
    enough = np.flatnonzero(log_evidence(np.arange(n + 1), n, tail) >= -math.log(level))
    assert int(most_misses(n, tail, level)) == max(enough, default=-1)


def test_the_chance_of_ever_reaching_the_level_is_at_most_the_level():
    rng, tail, level, paths, n = np.random.default_rng(0), 0.1587, 0.05, 4000, 2000
    table = most_misses(np.arange(1, n + 1), tail, level)
    reached = sum(np.any((rng.random(n) < tail).cumsum() <= table) for _ in range(paths))
    assert reached <= stats.binom.isf(CHANCE, paths, level)
    assert reached > 0.2 * level * paths  # and little of the level is wasted


def test_impossible_numbers_are_refused():
    with pytest.raises(BadParameter, match="at most 10,000,000 trials"):
        log_evidence(0, MOST_TRIALS + 1, 0.1)
    with pytest.raises(BadParameter, match="the tail must lie strictly between 0 and 1"):
        log_evidence(0, 10, 0.0)
