"""Top-k: against the worst classifier there is, by linear programming, and by simulation at the border of the claim."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from dsmooth.errors import BadParameter
from dsmooth.theory.certifiers import Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.modes import Mode
from dsmooth.theory.prediction import left_behind
from dsmooth.theory.rules import certifier_named
from dsmooth.theory.top_k import TopK, top_k_named
from dsmooth.theory.votes import Votes
from support import at_most, question

UNIT = Gaussian(1.0)
ONE = Votes({0: 1}, 1)


def cells(law, shift):
    """The probabilities of all values at an image and at one moved by so many steps, for noise of one coordinate."""
    table = law.table
    bounds = np.array([0, *[int(t) for t in table.thresholds], 2**64], dtype=object)
    mass = np.array([float(b - a) / 2.0**64 for a, b in itertools.pairwise(bounds)])
    here, there = np.zeros(len(mass) + shift), np.zeros(len(mass) + shift)
    here[: len(mass)], there[shift:] = mass, mass
    return here, there


def can_lose(law, shift, p_a, rivals):
    """Whether some classifier with P(A) >= p_a and P(rival) <= these has all rivals as probable as A, `shift` steps away."""
    here, there = cells(law, shift)
    count, labels = len(here), 1 + len(rivals)  # what no label here gets belongs to others
    cost = np.zeros(labels * count + 1)
    cost[-1] = -1.0  # the most that the weakest rival can be ahead
    per_cell = np.hstack([np.tile(np.eye(count), labels), np.zeros((count, 1))])
    rows, limits = [per_cell], [np.ones(count)]
    for i, limit in enumerate([-p_a, *rivals]):
        row = np.zeros((1, labels * count + 1))
        row[0, i * count : (i + 1) * count] = -here if i == 0 else here
        rows, limits = [*rows, row], [*limits, np.array([limit])]
    for i in range(1, labels):
        row = np.zeros((1, labels * count + 1))
        row[0, :count], row[0, i * count : (i + 1) * count], row[0, -1] = there, -there, 1.0
        rows, limits = [*rows, row], [*limits, np.zeros(1)]
    free = [(0.0, 1.0)] * (labels * count) + [(-1.0, 1.0)]
    found = optimize.linprog(cost, np.vstack(rows), np.concatenate(limits), bounds=free, method="highs")
    assert found.status == 0, found.message
    return -found.fun >= -1e-9


def steps_certified(law, p_a, rivals):
    """The steps of one coordinate within which the rule keeps A, from exact probabilities."""
    tail, together, rival = 1 - p_a, 0.0, 1.0
    for count, p in enumerate(sorted(rivals), 1):
        together += p
        rival = min(rival, law.weakest_rival(tail=tail, group=min(together, tail), count=count))
    return 255 * law.radius(tail=tail, rival=rival, dim=1)


CASES = [(0.5, (0.3, 0.1)), (0.3, (0.25, 0.2)), (0.2, (0.3, 0.02, 0.01)), (0.6, (0.2, 0.19)), (0.15, (0.5, 0.3, 0.001))]


@pytest.mark.parametrize(("p_a", "rivals"), CASES)
@pytest.mark.parametrize("law", [Gaussian(0.03), Uniform(25)], ids=lambda law: law.name)
def test_no_classifier_loses_its_place_inside_the_radius(law, p_a, rivals):
    within = math.ceil(steps_certified(law, p_a, rivals)) - 1  # whole steps below the radius
    assert within > 0
    for shift in {1, within - 1, within} - {0}:
        assert not can_lose(law, shift, p_a, rivals), (shift, within)
    if law.name == "gaussian":  # and not far beyond it one does
        assert any(can_lose(law, shift, p_a, rivals) for shift in range(within + 1, within + 3))


def test_the_group_of_rivals_is_what_lets_the_radius_grow():
    # two rivals of .2 each beside A of .4: either alone would catch up sooner than both can
    alone = UNIT.radius(tail=0.6, rival=0.2, dim=1)
    both = UNIT.radius(tail=0.6, rival=UNIT.weakest_rival(tail=0.6, group=0.4, count=2), dim=1)
    assert both > 1.05 * alone
    # the root of the published equation, by bisection in another way
    low, high = 0.0, 3.0
    normal = NormalDist()
    for _ in range(100):
        r = (low + high) / 2
        ahead = normal.cdf(normal.inv_cdf(0.4) - r) > normal.cdf(normal.inv_cdf(0.4) + r) / 2
        low, high = (r, high) if ahead else (low, r)
    assert both == pytest.approx(low, rel=1e-7)
    assert both <= low
    assert Lighting(1.0, brightness=0.1).weakest_rival(tail=0.6, group=0.4, count=2) == UNIT.weakest_rival(
        tail=0.6, group=0.4, count=2
    )


# true probabilities of A and of its rivals; the rest belongs to many labels that are never certified
TRUTHS = {
    "near": ((0.4, 0.25, 0.2, 0.1, 0.05), 2),
    "behind": ((0.25, 0.4, 0.2, 0.1, 0.05), 2),
    "at": ((0.3, 0.3, 0.3, 0.1), 2),
}


@pytest.mark.parametrize("what", TRUTHS)
def test_false_certificates_are_as_rare_as_alpha(what):
    truth, top = TRUTHS[what]
    alpha, images, n = 0.2, 1500, 400
    rule = TopK(top, len(truth))
    rivals = sorted(truth[1:], reverse=True)[:top]
    true_radius = steps_certified(UNIT, truth[0], rivals) / 255
    drawn = np.random.default_rng(1).multinomial(n, truth, images)
    radii = [
        rule.certify(ONE, Votes(dict(enumerate(row)), n), UNIT, alpha=alpha, dim=1).radius for row in drawn.tolist()
    ]
    assert sum(radius > true_radius for radius in radii) <= at_most(images, alpha)
    # whoever takes shares for probabilities is found out
    plain = [
        steps_certified(UNIT, row[0] / n, sorted((count / n for count in row[1:]), reverse=True)[:top]) / 255
        for row in drawn.tolist()
    ]
    assert sum(radius > true_radius for radius in plain) > at_most(images, alpha)
    if what == "near":
        assert np.mean(radii) > 0.4 * true_radius
        two = [
            Multiclass().certify(ONE, Votes(dict(enumerate(row)), n), UNIT, alpha=alpha, dim=1)
            for row in drawn.tolist()
        ]
        assert np.mean(radii) > 1.5 * np.mean([c.radius for c in two])


def test_lost_votes_may_be_all_of_one_rivals_and_labels_never_seen_are_rivals():
    # A .30, B .40, C .30, and all answers of C are lost: A is not surely among the first two
    rule = TopK(2, 3)
    votes = Votes({0: 300, 1: 400}, 1000)
    assert rule.certify(ONE, votes, UNIT, alpha=0.01, dim=1).abstained
    assert not rule.certify(ONE, Votes(votes.counts, 700), UNIT, alpha=0.01, dim=1).abstained  # what must not be done
    few = TopK(2, 1000).certify(ONE, Votes({0: 6, 1: 4}, 10), UNIT, alpha=0.01, dim=1)
    assert few.abstained  # two labels never seen may have a fifth each
    silent = rule.certify(ONE, Votes({}, 100), UNIT, alpha=0.01, dim=1)
    assert silent.abstained
    assert rule.certify(Votes({}, 5), votes, UNIT, alpha=0.01, dim=1).abstained
    assert rule.certify(ONE, Votes({}, 0), UNIT, alpha=0.01, dim=1).abstained


@settings(max_examples=60)
@given(st.lists(st.integers(0, 200), min_size=5, max_size=5), st.integers(0, 60), st.integers(1, 4))
def test_a_lost_or_moved_vote_never_helps(counts, missing, top):
    counts[0] += 30
    rule, trials = TopK(top, 5), sum(counts) + missing
    radius = rule.certify(ONE, Votes(dict(enumerate(counts)), trials), UNIT, alpha=0.1, dim=1).radius
    for rival in range(1, 5):
        moved = [counts[0] - 7, *counts[1:]]
        lost = rule.certify(ONE, Votes(dict(enumerate(moved)), trials), UNIT, alpha=0.1, dim=1)
        moved[rival] += 7
        given = rule.certify(ONE, Votes(dict(enumerate(moved)), trials), UNIT, alpha=0.1, dim=1)
        assert lost.radius <= given.radius <= radius


def test_more_places_are_easier_to_keep():
    votes = Votes({0: 500, 1: 300, 2: 100, 3: 60, 4: 40}, 1000)
    radii = [TopK(top, 10).certify(ONE, votes, UNIT, alpha=0.001, dim=12).radius for top in range(1, 6)]
    assert radii == sorted(radii)
    assert 0 < radii[0] < radii[1]
    found = TopK(3, 10).certify(ONE, votes, UNIT, alpha=0.001, dim=12)
    assert "0 stays in the top 3: no change below" in str(found)
    assert found.radius_in(math.inf) == pytest.approx(found.radius / math.sqrt(12), rel=1e-8)


def test_top_k_by_name_and_what_makes_no_sense():
    assert certifier_named("top-5-of-1000") == TopK(5, 1000) == top_k_named(TopK(5, 1000).name)
    assert top_k_named("multiclass") is None
    for bound in ("top-0-of-5", "top-5", "top-05-of-9", "top-5-of-10 "):
        with pytest.raises(BadParameter, match="bound must be one of"):
            certifier_named(bound)
    with pytest.raises(BadParameter, match="every one of 5 labels is in the top 5"):
        TopK(5, 5)
    with pytest.raises(BadParameter, match="votes for at most 3 labels, got 4"):
        TopK(2, 3).certify(ONE, Votes({0: 5, 1: 1, 2: 1, 3: 1}, 10), UNIT, alpha=0.1, dim=1)
    with pytest.raises(BadParameter, match="mode curve has its own bound, got top-2-of-3"):
        Mode("curve", (0.5,)).plan(TopK(2, 3), UNIT, n=50, alpha=0.001)
    with pytest.raises(BadParameter, match="which label is the first, got top-2-of-3"):
        question(Splitting(9), bound="top-2-of-3")


def test_a_label_is_behind_only_where_so_many_are_surely_ahead():
    rule = TopK(2, 10)
    assert left_behind(Votes({0: 100, 1: 400, 2: 500}, 1000), 0, rule, 1e-6)
    assert not left_behind(Votes({0: 100, 1: 120, 2: 780}, 1000), 0, rule, 1e-6)
    assert not left_behind(Votes({0: 100, 1: 400, 2: 200}, 1000), 0, rule, 1e-6)  # the missing may all be its own
    assert not left_behind(Votes({1: 1000}, 1000), 0, rule, 1e-6)  # it may be the second
    # at the border: A and the second rival are equally probable, so A is among the first two
    drawn = np.random.default_rng(0).multinomial(200, (0.25, 0.5, 0.25), 3000)
    wrong = sum(left_behind(Votes(dict(enumerate(row)), 200), 0, TopK(2, 3), 0.15) for row in drawn.tolist())
    assert 0 < wrong <= at_most(3000, 0.15)
