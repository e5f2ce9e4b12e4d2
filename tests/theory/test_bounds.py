import json
import math
from pathlib import Path

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import clopper_pearson_upper
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
