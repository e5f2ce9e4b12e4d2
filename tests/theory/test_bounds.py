import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import LEAST_RANDOMISED, clopper_pearson_upper, weight_of
from dsmooth.theory.laws.gaussian import Gaussian

ROWS = json.loads((Path(__file__).parent.parent / "golden" / "bounds.json").read_text())["rows"]


def test_tails_are_on_the_safe_side_of_fifty_digits_and_close_to_them():
    for row in ROWS:
        exact = mpmath.mpf(row["tail"])
        ours = clopper_pearson_upper(row["n"] - row["k"], row["n"], float(row["alpha"]))
        # the level is lowered by 1e-9; what that costs the bound depends on how steep it is there
        assert exact <= ours <= min(exact * (1 + mpmath.mpf("2e-9")), 1), row


def test_radii_are_on_the_safe_side_of_fifty_digits_and_close_to_them():
    shown = 0
    for row in ROWS:
        tail = clopper_pearson_upper(row["n"] - row["k"], row["n"], float(row["alpha"]))
        radius = Gaussian(1.0).radius(tail=tail, rival=tail, dim=1)
        exact = mpmath.mpf(0) if row["quantile"] is None else max(mpmath.mpf(row["quantile"]), 0)
        assert radius <= exact, row
        assert radius >= exact * (1 - mpmath.mpf("2e-9")) - mpmath.mpf("3e-9"), row
        shown += radius > 0
    assert shown > 50


@given(st.integers(1, 10_000), st.data(), st.floats(1e-4, 0.5))
def test_the_bound_solves_its_equation(trials, data, alpha):
    count = data.draw(st.integers(0, trials - 1))
    bound = clopper_pearson_upper(count, trials, alpha)
    assert count / trials < bound <= 1
    assert special.bdtr(count, trials, bound) == pytest.approx(alpha, rel=1e-5)


@given(st.integers(2, 500), st.data(), st.floats(1e-6, 0.4))
def test_the_bound_grows_with_the_count_and_falls_with_alpha(trials, data, alpha):
    count = data.draw(st.integers(0, trials - 1))
    bound = clopper_pearson_upper(count, trials, alpha)
    assert clopper_pearson_upper(count + 1, trials, alpha) >= bound
    assert clopper_pearson_upper(count, trials, alpha / 2) >= bound


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -0.1, math.nan, math.inf, "a", None])
def test_levels_outside_0_1_are_refused(alpha):
    with pytest.raises(BadParameter, match="alpha must lie strictly between 0 and 1"):
        clopper_pearson_upper(1, 10, alpha)


@pytest.mark.parametrize(("count", "trials"), [(-1, 10), (11, 10), (0, 0)])
def test_counts_that_cannot_be_are_refused(count, trials):
    with pytest.raises(BadParameter, match="must be a whole number of at"):
        clopper_pearson_upper(count, trials, 0.05)


def randomised_tail(count, trials, weight, q):
    """P(fewer than `count` of `trials`) + weight P(exactly `count`), term by term in 40 digits."""
    with mpmath.workdps(40):
        q, terms = mpmath.mpf(q), []
        for i in range(count + 1):
            terms.append(mpmath.binomial(trials, i) * q**i * (1 - q) ** (trials - i))
        return mpmath.fsum(terms[:-1]) + mpmath.mpf(weight) * terms[-1]


@pytest.mark.parametrize("weight", [0.0004, 0.01, 0.3, 0.9999])
@pytest.mark.parametrize(("count", "trials"), [(0, 20), (1, 20), (7, 60), (0, 1000), (3, 1000), (40, 1000)])
def test_randomised_bounds_are_on_the_safe_side_of_forty_digits_and_close_to_them(count, trials, weight):
    for alpha in (0.05, 0.001):
        bound = clopper_pearson_upper(count, trials, alpha, weight=weight)
        if count == 0 and weight <= alpha:
            assert bound == LEAST_RANDOMISED == 1e-9
            continue
        assert randomised_tail(count, trials, weight, bound) <= alpha
        assert randomised_tail(count, trials, weight, bound * (1 - 1e-8)) > alpha * (1 - 2e-9)
        assert LEAST_RANDOMISED <= bound <= clopper_pearson_upper(count, trials, alpha)


def test_a_weight_of_one_is_the_bound_of_clopper_and_pearson_and_smaller_ones_only_help():
    for count in range(12):
        bounds = [clopper_pearson_upper(count, 12, 0.05, weight=w) for w in (1e-16, 1e-6, 0.04, 0.06, 0.5, 0.99, 1.0)]
        assert bounds == sorted(bounds)
        assert bounds[-1] == clopper_pearson_upper(count, 12, 0.05)
        if count:
            assert bounds[0] == pytest.approx(clopper_pearson_upper(count - 1, 12, 0.05), rel=1e-6)


@pytest.mark.parametrize("q", [0.003, 0.08, 0.31, 0.5, 0.93])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_randomised_bounds_fail_with_probability_alpha_and_no_other(q, alpha):
    """Exactly: for each count the weights whose bound is below q are those up to one, which is found by bisection."""
    trials, failing = 12, 0.0
    for count in range(trials + 1):
        low, high = 0.0, 1.0
        if clopper_pearson_upper(count, trials, alpha) < q:
            low = 1.0
        while high - low > 1e-7:
            middle = (low + high) / 2
            fails = clopper_pearson_upper(count, trials, alpha, weight=middle) < q
            low, high = (middle, high) if fails else (low, middle)
        failing += float(mpmath.binomial(trials, count)) * q**count * (1 - q) ** (trials - count) * low
    assert failing <= alpha
    # with a bound of 1 for a count of all trials, nothing is lost but where q is high
    assert failing == pytest.approx(alpha, rel=1e-5) or q**trials > 0.1


@pytest.mark.parametrize("weight", [0.0, -0.5, 1.5, math.nan, None])
def test_weights_outside_0_1_are_refused(weight):
    with pytest.raises(BadParameter, match="weight of a bound above 0 and at most 1"):
        clopper_pearson_upper(1, 10, 0.05, weight=weight)


def test_the_weight_of_a_stream_is_uniform_and_never_below_its_bits():
    assert weight_of(None) == 1.0
    assert weight_of(bytes(16)) == 2.0**-53
    assert weight_of(b"\xff" * 16) == 1.0
    drawn = [int.from_bytes(hashlib.sha256(i.to_bytes(2, "big")).digest()[:16], "big") for i in range(4000)]
    weights = [weight_of(value.to_bytes(16, "big")) for value in drawn]
    assert all(Fraction(value, 2**128) < weight <= 1 for value, weight in zip(drawn, weights, strict=True))
    assert stats.kstest(weights, "uniform").pvalue > 1e-9
