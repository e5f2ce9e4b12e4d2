"""Looks with a bound on the strongest rival: by simulation at the border, and against the evidence that bounds rest on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmooth.errors import BadParameter
from dsmooth.theory.certifiers import Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.mixture import log_evidence
from dsmooth.theory.modes import Mode
from dsmooth.theory.rivals import RivalsRule, anytime_upper
from dsmooth.theory.stopping import RadiiRule, looks
from dsmooth.theory.votes import StoppedVotes, Votes
from support import at_most

UNIT = Gaussian(1.0)
FIRST = Votes({0: 12, 1: 8}, 20)


def radius_of(p_a, p_b):
    return UNIT.radius(tail=1 - p_a, rival=p_b, dim=1)


def counts_at(rng, truth, most):
    """One image's votes at each look: {label: count}."""
    drawn = rng.choice(len(truth), size=most, p=truth)
    return [Votes(dict(enumerate(np.bincount(drawn[:n], minlength=len(truth)).tolist())), n) for n in looks(most)]


def outcome(rule, votes, selection=FIRST):
    """The certificate of these votes, and how many were drawn; by number of votes, as the tally would ask the rule."""
    held, best, n = 0, Votes({}, 0), 0
    by_number = {each.trials: each for each in votes}
    while True:
        verdict = rule.look(selection, by_number[n], held=held, dim=1)
        if verdict.held > held:
            held, best = verdict.held, by_number[n]
        if verdict.more is None:
            return rule.certify(selection, StoppedVotes(by_number[n], best), 1), n
        n = verdict.more


@given(st.integers(0, 300), st.integers(1, 3000), st.sampled_from([0.2, 0.01, 1e-5]))
def test_the_bound_is_where_the_evidence_begins(count, trials, level):
    count = min(count, trials)
    bound = anytime_upper(count, trials, level)
    assert count / trials <= bound <= 1.0
    enough = -math.log(level)
    if bound < 1.0:
        assert float(log_evidence(count, trials, bound)) >= enough
        below = bound * (1 - 1e-6)
        assert float(log_evidence(count, trials, below)) < enough
        for beyond in np.linspace(bound, 1.0, 12)[1:-1]:  # every larger probability is rejected too
            assert float(log_evidence(count, trials, beyond)) >= enough
    assert anytime_upper(min(count + 1, trials), trials, level) >= bound
    assert anytime_upper(count, trials, level / 2) >= bound


# probabilities of the answer and its rivals, with the true radius at the border of what is claimed
TRUTHS = {"above half": (0.6, 0.3, 0.1), "below half": (0.42, 0.25, 0.2, 0.13), "none": (0.35, 0.35, 0.3)}


@pytest.mark.parametrize("what", TRUTHS)
def test_false_certificates_are_as_rare_as_alpha_at_the_border(what):
    truth, most, images, alpha = TRUTHS[what], 600, 500, 0.25
    border = radius_of(truth[0], max(truth[1:]))
    radii = (0.5 * border, border, 1.1 * border + 0.01)
    rng = np.random.default_rng(2)
    rule = Mode("curve", radii, rivals=True).plan("cohen", UNIT, n=most, alpha=alpha)
    drawn = [counts_at(rng, truth, most) for _ in range(images)]
    false = sum(certificate.radius > border for certificate, _ in (outcome(rule, votes) for votes in drawn))
    assert false <= at_most(images, alpha)
    # shares taken for probabilities, at whichever of the same looks they are best, are found out
    shares = [
        max(radius_of(each.of(0) / each.trials, each.strongest_rival(0) / each.trials) for each in votes if each.trials)
        for votes in drawn
    ]
    assert sum(share > border for share in shares) > at_most(images, alpha)


def test_radii_hold_below_half_and_votes_are_saved():
    truth, most = (0.45, 0.15, 0.15, 0.15, 0.1), 4000
    rng = np.random.default_rng(0)
    votes = counts_at(rng, truth, most)
    found, drawn = outcome(Mode("decision", (0.2,), rivals=True).plan("cohen", UNIT, n=most, alpha=0.001), votes)
    assert found.radius > 0.2
    assert found.certifier == "decision-multiclass"
    assert 1 - found.tail < 0.45 < 0.5
    assert drawn < most
    without, _ = outcome(Mode("decision", (0.2,)).plan("cohen", UNIT, n=most, alpha=0.001), votes)
    assert without.abstained
    # what is promised at the end is close to what all votes would have promised
    curve, drawn = outcome(Mode("curve", (0.1, 0.34, 9.0), rivals=True).plan("cohen", UNIT, n=most, alpha=0.001), votes)
    whole = Multiclass().certify(FIRST, votes[-1], UNIT, alpha=0.001, dim=1)
    assert 0.34 < curve.radius <= whole.radius < 0.385


def test_a_hopeless_image_costs_few_votes():
    votes = counts_at(np.random.default_rng(0), (0.34, 0.33, 0.33), 10_000)
    found, drawn = outcome(Mode("decision", (0.5,), rivals=True).plan("cohen", UNIT, n=10_000, alpha=0.001), votes)
    assert found.abstained
    assert drawn <= 500


def test_lost_votes_never_certify():
    # A .40, B .45, and all answers of B are lost
    rule = Mode("decision", (0.0,), rivals=True).plan("cohen", UNIT, n=1000, alpha=0.05)
    rng = np.random.default_rng(1)
    claims = 0
    for _ in range(200):
        votes = [Votes({0: v.of(0), 2: v.of(2)}, v.trials) for v in counts_at(rng, (0.4, 0.45, 0.15), 1000)]
        claims += not outcome(rule, votes)[0].abstained
    assert claims <= at_most(200, 0.05)


def test_rivals_are_a_part_of_the_mode():
    mode = Mode("curve", (0.25, 0.5), rivals=True)
    assert mode.to_json() == {"name": "curve", "radii": [0.25, 0.5], "rivals": True}
    assert Mode.from_json(mode.to_json()) == mode
    rule = mode.plan("multiclass", UNIT, n=1000, alpha=0.001)
    assert isinstance(rule, RivalsRule)
    assert not isinstance(Mode("curve", (0.25,)).plan("multiclass", UNIT, n=1000, alpha=0.001), RivalsRule)
    assert rule.least_votes(1) >= RadiiRule(radii=rule.radii, most=1000, law=UNIT, alpha=0.001).least_votes(1)
    with pytest.raises(BadParameter, match="rivals belong to the modes curve and decision"):
        Mode("fixed", rivals=True)
    with pytest.raises(BadParameter, match="rivals belong"):
        Mode("curve", (0.1,), rivals=1)
    with pytest.raises(BadParameter, match="expected a mode"):
        Mode.from_json({"name": "curve", "radii": [0.25], "rivals": False})
    with pytest.raises(BadParameter, match="stops early, got a number of votes fixed in advance"):
        rule.certify(FIRST, Votes({0: 900}, 1000), 1)
