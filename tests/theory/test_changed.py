"""A changed classifier: the union of two bounds, exactly and by simulation, against an oracle; pairs as labels."""

import numpy as np
import pytest
from scipy import stats

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import clopper_pearson_upper
from dsmooth.theory.certifiers import Cohen
from dsmooth.theory.changed import (
    Paired,
    certify_changed,
    is_promising,
    pair_of,
    paired_label,
    paired_named,
    votes_of_changed,
)
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.rules import certifier_named
from dsmooth.theory.votes import Votes
from support import at_most

LAW = Gaussian(1.0)
ONE = Votes({1: 10}, 10)
BOTH, LOST, GAINED, NEITHER = ((1, 1), (1, 0), (0, 1), (0, 2))


def pairs(counts, trials=None):
    """Votes of pairs, by pair of answers."""
    votes = {paired_label(*pair): count for pair, count in counts.items()}
    return Votes(votes, sum(counts.values()) if trials is None else trials)


def certified(hits, trials, counts, missing=0, alpha=0.001, law=LAW, **more):
    drawn = pairs(counts, sum(counts.values()) + missing)
    return certify_changed(ONE, Votes({1: hits, 0: trials - hits}, trials), drawn, law, alpha=alpha, dim=1, **more)


@pytest.mark.parametrize(
    ("hits", "trials", "lost", "asked", "alpha"),
    [(900, 1000, 0, 200, 0.001), (9000, 10000, 3, 500, 0.001), (70, 100, 1, 90, 0.1), (100, 100, 0, 100, 0.01)],
)
def test_the_radius_is_that_of_two_bounds_at_half_of_alpha(hits, trials, lost, asked, alpha):
    """An oracle: scipy's beta quantiles, and the radius of Cohen et al."""
    tail = stats.beta.isf(alpha / 2, trials - hits + 1, hits) + stats.beta.isf(alpha / 2, lost + 1, asked - lost)
    found = certified(hits, trials, {BOTH: asked - lost, LOST: lost}, alpha=alpha)
    assert found.answer == 1
    assert found.radius == pytest.approx(stats.norm.isf(tail), rel=1e-6)
    assert found.radius <= stats.norm.isf(tail)
    assert found.estimation == Votes({1: asked - lost, 0: lost}, asked)
    assert found.certifier == "changed"


def test_false_certificates_are_as_rare_as_alpha_exactly():
    """Every number of former votes and of pairs that can come, for every p of the former and every share that is lost.

    No gain is granted to the changed classifier (P(changed = A) = p - lost), which is the worst that can be.
    """
    n, asked, alpha = 40, 20, 0.2
    tails = np.array(
        [
            [certified(hits, n, {BOTH: asked - lost, LOST: lost}, alpha=alpha).tail for lost in range(asked + 1)]
            for hits in range(n + 1)
        ]
    )
    worst = 0.0
    for p in np.linspace(0.02, 1.0, 50):
        lost = p * np.linspace(0.0, 1.0, 51)
        former = stats.binom.pmf(np.arange(n + 1), n, p)
        among = stats.binom.pmf(np.arange(asked + 1), asked, lost[:, None])
        false = tails < 1.0 - (p - lost[:, None, None])
        worst = max(worst, float(np.einsum("k,sl,skl->s", former, among, false).max()))
    assert 0.01 < worst <= alpha


def test_who_forgets_what_the_two_may_differ_is_found_out():
    """The former votes alone, at the full alpha, for a changed classifier that lost a twentieth."""
    n, p, lost, alpha = 1000, 0.6, 0.05, 0.05
    hits = np.arange(n + 1)
    tails = np.array([clopper_pearson_upper(n - k, n, alpha) for k in hits.tolist()])
    assert stats.binom.pmf(hits, n, p)[tails < 1.0 - (p - lost)].sum() > 0.5


@pytest.mark.parametrize(
    ("truth", "missing"),
    [
        ((0.55, 0.06, 0.03), 0.0),
        ((0.70, 0.02, 0.0), 0.0),
        ((0.62, 0.0, 0.0), 0.0),
        ((0.60, 0.05, 0.02), 0.03),
    ],
)
def test_false_certificates_are_as_rare_as_alpha(truth, missing):
    """truth: P(both answer A), P(the former alone), P(the changed one alone); answers get lost at random."""
    both, lost, gained = truth
    alpha, n, asked, runs = 0.1, 100, 40, 1500
    chance = np.random.default_rng(11)
    radius = stats.norm.ppf(both + gained)
    counts = chance.multinomial(asked, [both, lost, gained, 1 - both - lost - gained], runs)
    former = chance.binomial(n, both + lost, runs)
    gone = chance.binomial(counts, missing)
    wrong, radii = 0, {}
    for hits, (agreed, left, came, other), away in zip(former.tolist(), counts.tolist(), gone.tolist(), strict=True):
        kept = {
            BOTH: agreed - away[0],
            (1, None): away[0],  # the changed one gave no answer, and was right
            LOST: left - away[1],
            (None, 0): away[1],  # the former gave none
            GAINED: came,
            NEITHER: other - away[3],
        }
        drawn = (hits, *kept.values(), away[3])
        if drawn not in radii:
            radii[drawn] = certified(hits, n, kept, missing=away[3], alpha=alpha).radius
        wrong += radii[drawn] > radius
    assert wrong <= at_most(runs, alpha)


def test_what_is_missing_counts_against_the_changed_one():
    plain = certified(90, 100, {BOTH: 95, NEITHER: 5})
    for pair in (LOST, (1, None), (None, 0), (None, 2)):
        assert certified(90, 100, {BOTH: 95, NEITHER: 4, pair: 1}).radius < plain.radius
    assert certified(90, 100, {BOTH: 95, NEITHER: 4}, missing=1).radius < plain.radius
    for pair in (GAINED, (None, 1), (2, None), (2, 2)):
        assert certified(90, 100, {BOTH: 94, NEITHER: 4, pair: 2}).radius == plain.radius


def test_what_may_be_wrong_is_charged_to_the_vote():
    fewer, more = certified(88, 100, {BOTH: 97, LOST: 3}), certified(90, 100, {BOTH: 100}, doubtful=(2, 3))
    assert fewer.radius == more.radius
    assert certified(90, 100, {BOTH: 100}, doubtful=(1000, 0)).abstained
    assert certified(90, 100, {BOTH: 100}, doubtful=(0, 1000)).abstained


def test_nothing_is_promised_without_pairs_or_without_an_answer():
    assert certified(100, 100, {}).abstained
    assert certify_changed(Votes({}, 10), ONE, pairs({BOTH: 9}), LAW, alpha=0.1, dim=1).abstained
    assert certified(60, 100, {BOTH: 1000}, alpha=0.1).answer == 1
    assert certified(60, 100, {BOTH: 1000}).abstained


def test_the_former_classifier_is_never_exceeded():
    for law in (LAW, Uniform(127)):
        for hits in range(50, 101, 5):
            former = Cohen().certify(ONE, Votes({1: hits, 0: 100 - hits}, 100), law, alpha=0.001, dim=4)
            changed = certified(hits, 100, {BOTH: 10**6}, law=law)
            assert changed.radius <= former.radius


def test_promising_is_what_pairs_that_agree_would_certify():
    for hits in range(50, 101):
        votes = Votes({1: hits, 0: 100 - hits}, 100)
        for asked in (20, 60, 400):
            agreed = not certified(hits, 100, {BOTH: asked}, alpha=0.05).abstained
            assert is_promising(ONE, votes, asked, LAW, alpha=0.05) is agreed
    assert not is_promising(Votes({}, 5), ONE, 100, LAW, alpha=0.05)


@pytest.mark.parametrize("pair", [(1, 2), (1, None), (None, "a"), ("1", 1), ('"],[', "é"), (-3, 10**12)])
def test_pairs_of_answers_are_labels_that_can_be_read_again(pair):
    assert pair_of(paired_label(*pair)) == pair


def test_labels_that_are_no_pairs_are_refused():
    assert paired_label(None, None) is None
    for label in (
        1,
        "1",
        "[1]",
        "[1,2,3]",
        "[1, 2]",
        "[true,1]",
        "[1.0,1]",
        "{}",
        "[[1],2]",
        "[null,null]",
        "[" * 9999,
    ):
        with pytest.raises(BadParameter, match="pair of answers"):
            pair_of(label)
    assert votes_of_changed(pairs({BOTH: 3, (1, None): 2, (None, 0): 1})) == Votes({1: 3, 0: 1}, 6)


def test_the_bound_of_pairs_has_a_name_and_certifies_nothing():
    bound = Paired("a" * 64)
    assert certifier_named(bound.name) == bound == paired_named(bound.name)
    assert paired_named("cohen") is None
    found = bound.certify(ONE, pairs({BOTH: 1000}), LAW, alpha=0.001, dim=3)
    assert (found.answer, found.radius, found.certifier) == (None, 0.0, bound.name)
    for bad in ("", "a" * 63, "A" * 64, "g" * 64):
        with pytest.raises(BadParameter, match="digest of a run"):
            Paired(bad)
