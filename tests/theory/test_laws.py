import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmooth.errors import BadParameter
from dsmooth.theory.laws.gaussian import Gaussian

tails = st.floats(1e-12, 0.499)


@given(tails, tails, st.floats(0.01, 4))
def test_radius_scales_with_sigma_and_falls_with_either_tail(tail, rival, sigma):
    radius = Gaussian(sigma).radius(tail=tail, rival=rival, dim=3)
    assert radius == pytest.approx(sigma * Gaussian(1.0).radius(tail=tail, rival=rival, dim=3), rel=1e-6, abs=1e-9)
    assert Gaussian(sigma).radius(tail=tail * 1.1, rival=rival, dim=3) <= radius
    assert Gaussian(sigma).radius(tail=tail, rival=rival * 1.1, dim=3) <= radius


def test_norms():
    gaussian, dim = Gaussian(0.25), 150_528
    l2 = gaussian.radius(tail=0.01, rival=0.01, norm=2, dim=dim)
    assert gaussian.radius(tail=0.01, rival=0.01, norm=1, dim=dim) == l2
    assert gaussian.radius(tail=0.01, rival=0.01, norm=math.inf, dim=dim) == pytest.approx(
        l2 / math.sqrt(dim), rel=1e-8
    )
    assert gaussian.radius(tail=0.01, rival=0.01, norm=4, dim=dim) == pytest.approx(l2 * dim**-0.25, rel=1e-8)


@pytest.mark.parametrize(("tail", "rival"), [(0.5, 0.5), (0.7, 0.4), (1.0, 0.0), (math.nan, 0.1), (0.1, math.nan)])
def test_nothing_is_promised_without_a_margin(tail, rival):
    assert Gaussian(1.0).radius(tail=tail, rival=rival, dim=1) == 0.0


def test_a_winner_below_one_half_has_a_radius_where_every_rival_is_weaker():
    assert Gaussian(1.0).radius(tail=0.55, rival=0.1, dim=1) == pytest.approx((1.2815515 - 0.1256613) / 2, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf, 100.0, "x", None])
def test_impossible_sigma_is_refused(sigma):
    with pytest.raises(BadParameter, match="sigma must be between"):
        Gaussian(sigma)


@pytest.mark.parametrize("norm", [0.5, 0, -2, math.nan, "two"])
def test_impossible_norm_is_refused(norm):
    with pytest.raises(BadParameter, match="norm must be a number from 1 to inf"):
        Gaussian(1.0).radius(tail=0.1, rival=0.1, norm=norm, dim=2)


@given(st.floats(0.01, 4.0), st.floats(0.0, 30.0), st.sampled_from([1.0, 2.0, 4.0, math.inf]), st.integers(1, 200_000))
def test_the_tail_of_a_radius_justifies_just_more_than_it(sigma, radius_in_sigmas, norm, dim):
    noise = Gaussian(sigma)
    radius = radius_in_sigmas * sigma * (dim ** (1 / norm - 0.5) if norm > 2 else 1.0)
    tail = noise.tail(radius, norm=norm, dim=dim)
    assert radius < noise.radius(tail=tail, rival=tail, norm=norm, dim=dim) <= radius * (1 + 1e-8) + 1e-9


def test_radii_beyond_float64_get_a_tail_that_no_vote_reaches():
    assert Gaussian(0.25).tail(1e6, dim=3) == 1e-300
