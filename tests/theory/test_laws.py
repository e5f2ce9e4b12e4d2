import json
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmooth.errors import BadParameter
from dsmooth.theory.grid import Table
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.known import check_law, law_from_json, law_named
from dsmooth.theory.laws.uniform import Uniform

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


# --- every law on the grid, held against Neyman and Pearson on its own table ------------------------------------------

GRID = [Gaussian(0.01), Gaussian(0.04), Uniform(levels=3), Uniform(levels=9), Uniform(levels=21)]


def shifted(table, shift):
    """The law of (image + noise) at an image and at one moved by these whole steps: two flat arrays over the same points."""
    here = there = np.ones(1)
    for steps in shift:
        one = np.pad(table.probabilities, (max(0, -steps), max(0, steps)))
        other = np.pad(table.probabilities, (max(0, steps), max(0, -steps)))
        here, there = np.outer(here, one).ravel(), np.outer(there, other).ravel()
    return here, there


def extreme(here, there, probability, *, most):
    """The least (or most) probability there of an event that has this probability here (Neyman and Pearson 1933)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        order = np.argsort(np.where(here > 0, there / here, np.inf), kind="stable")
    if most:  # what is impossible here costs nothing
        order = order[::-1]
    p, q = here[order], there[order]
    before = np.concatenate([[0.0], np.cumsum(p)])[:-1]
    share = np.clip((probability - before) / np.where(p > 0, p, 1.0), 0.0, 1.0)
    share[p == 0] = 1.0 if most else 0.0
    return float((share * q).sum())


def length(law, shift):
    """The distance of a shift in the law's own norm."""
    return float(np.linalg.norm(np.array(shift, dtype=float), ord=law.norm)) / 255


SHIFTS = [(k,) for k in range(-6, 7)] + [(a, b) for a in range(-3, 4) for b in range(4)]


@pytest.mark.parametrize("law", GRID, ids=str)
@pytest.mark.parametrize("shift", SHIFTS, ids=str)
def test_inside_the_radius_no_event_falls_below_a_rival(law, shift):
    here, there = shifted(law.table, shift)
    for p in (0.51, 0.6, 0.75, 0.9, 0.97, 0.999, 1 - 1e-9):
        if length(law, shift) < law.radius(tail=1 - p, rival=1 - p, dim=len(shift)):
            assert extreme(here, there, p, most=False) >= 0.5 - 1e-12
        for rival in (0.01, 0.1, 0.3):
            if rival < 1 - p and length(law, shift) < law.radius(tail=1 - p, rival=rival, dim=len(shift)):
                least = extreme(here, there, p, most=False)
                assert least >= extreme(here, there, rival, most=True) - 1e-12


@pytest.mark.parametrize("law", GRID, ids=str)
def test_the_radius_is_not_shorter_than_it_has_to_be(law):
    """One coordinate, two steps beyond the radius: there is an event that loses."""
    for p in (0.6, 0.75, 0.9):
        steps = math.ceil(255 * law.radius(tail=1 - p, rival=1 - p, dim=1)) + 2
        here, there = shifted(law.table, (steps,))
        assert extreme(here, there, p, most=False) < 0.5


@pytest.mark.parametrize("law", [*GRID, Gaussian(0.25), Uniform(levels=127), Uniform(levels=4081)], ids=str)
def test_the_table_of_a_law_is_its_law(law):
    table = law.table
    assert math.isclose(table.probabilities.sum(), 1.0, rel_tol=1e-12)
    assert abs(table.moment(1)) < 1e-9
    assert math.sqrt(table.moment(2)) / 255 == pytest.approx(law.level, rel=1e-3 if law.level > 0.03 else 0.01)
    assert law_from_json(law.to_json()) == law
    assert json.loads(json.dumps(law.to_json())) == law.to_json()
    assert str(law).startswith(law.name)


def test_every_step_of_uniform_noise_is_equally_likely_but_for_one_word_in_two_to_the_64():
    for levels in (3, 127, 4081):
        table = Uniform(levels).table
        exact = [0, *map(int, table.thresholds), 1 << 64]
        assert {b - a for a, b in pairwise(exact)} <= {(1 << 64) // levels, (1 << 64) // levels + 1}
        assert table.steps.tolist() == list(range(-(levels // 2), levels // 2 + 1))


@pytest.mark.parametrize("levels", [2, 128, 1, 0, -3, 4083, 127.0, "127", None, True])
def test_impossible_levels_are_refused(levels):
    with pytest.raises(BadParameter, match="levels must be"):
        Uniform(levels)


def test_uniform_radii():
    law = Uniform(levels=127)  # lambda = 127/510
    assert law.radius(tail=0.1, rival=0.1, dim=3072) == pytest.approx(2 * 127 / 510 * 0.4, rel=1e-8)
    assert law.radius(tail=0.5, rival=0.2, dim=3072) == pytest.approx(127 / 510 * 0.3, rel=1e-8)
    assert law.radius(tail=0.1, rival=0.1, norm=2, dim=3072) == pytest.approx(2 * 127 / 510 * 0.4 / 3072**0.5, rel=1e-8)
    assert law.radius(tail=0.0, rival=0.0, dim=1) <= 127 / 255
    assert law.tail(0.6, dim=3) == 1e-300  # beyond its reach


@given(
    st.sampled_from([3, 9, 127, 2001]),
    st.floats(0.0, 0.999),
    st.sampled_from([1.0, 2.0, math.inf]),
    st.integers(1, 4000),
)
def test_the_tail_of_a_radius_of_uniform_noise_justifies_just_more_than_it(levels, part, norm, dim):
    law = Uniform(levels)
    radius = part * law.half_width * (dim ** (1 / norm - 1) if norm > 1 else 1.0)
    tail = law.tail(radius, norm=norm, dim=dim)
    assert radius < law.radius(tail=tail, rival=tail, norm=norm, dim=dim) <= radius * (1 + 1e-7) + 1e-9


@pytest.mark.parametrize(
    ("thresholds", "first"),
    [
        ([3, 2], 0),  # they fall
        ([], 0),
        ([1 << 62], 40_000),  # a noisy pixel would not fit
        ([1 << 62], -33_000),
        (np.zeros(3, dtype=np.int64), 0),
    ],
)
def test_what_is_no_table_is_refused(thresholds, first):
    array = thresholds if isinstance(thresholds, np.ndarray) else np.array(thresholds, dtype=np.uint64)
    with pytest.raises(BadParameter):
        Table(first=first, thresholds=array)


def test_laws_are_made_from_what_records_say_and_from_nothing_else():
    assert law_named("uniform", {"levels": 127}) == Uniform(127)
    for value in (
        {"name": "gaussian", "sigma": 0.25, "levels": 3},
        {"name": "uniform"},
        {"sigma": 0.25},
        {"name": "no"},
    ):
        with pytest.raises(BadParameter, match="noise"):
            law_from_json(value)
    with pytest.raises(BadParameter, match="your own with --noise"):
        law_from_json({"name": "import:os:getcwd"})


def test_two_laws_of_one_name_are_refused():
    @dataclass(frozen=True)
    class Impostor(Gaussian):
        pass

    with pytest.raises(BadParameter, match="has the name of another law"):
        check_law(Impostor(0.25))
    with pytest.raises(BadParameter, match="RandomLaw or an EnumeratedLaw"):
        check_law(object())
