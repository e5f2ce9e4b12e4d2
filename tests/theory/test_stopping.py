import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import clopper_pearson_upper
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.mixture import log_evidence
from dsmooth.theory.stopping import RadiiRule, StoppingRule, looks
from dsmooth.theory.votes import StoppedVotes, Votes

NOISE, ALPHA, N = Gaussian(0.25), 0.001, 10_000
RULE = RadiiRule(radii=(0.0, 0.25, 0.5), most=N, law=NOISE, alpha=ALPHA)
PILOT = Votes({1: 97, 0: 3}, 100)


def look(hits, trials, *, rule=RULE, pilot=PILOT, held=0):
    return rule.look(pilot, Votes({1: hits}, trials), held=held, dim=3072)


def test_looks_are_every_hundred_then_every_five_per_cent():
    assert looks(10_000)[:21] == tuple(range(0, 2001, 100))
    assert looks(10_000)[21:23] == (2100, 2205)
    assert looks(10_000)[-1] == 10_000
    assert looks(150) == (0, 100, 150)
    assert looks(1) == (0, 1)
    assert len(looks(100_000)) < 110


@pytest.mark.parametrize("most", [1, 99, 1000, 12_345])
def test_looks_rise_to_the_last_vote(most):
    assert all(a < b for a, b in zip(looks(most), looks(most)[1:], strict=False))
    assert looks(most)[-1] == most


@given(st.sampled_from(looks(N)[1:]), st.data())
def test_a_radius_is_held_where_evidence_or_the_final_bound_says_so(n, data):
    hits = data.draw(st.integers(0, n))
    misses = n - hits
    held = 0
    for radius, tail in zip(RULE.radii, RULE.tails(3072), strict=True):
        assert NOISE.radius(tail=tail, rival=tail, dim=3072) > radius
        evidence = log_evidence(misses, n, tail) >= -np.log(0.2 * ALPHA)
        worst = misses + N - n  # if every vote to come is a miss
        held += bool(evidence or clopper_pearson_upper(worst, N, 0.8 * ALPHA) <= tail)
    assert look(hits, n).held == held


@given(st.sampled_from(looks(N)[:-1]), st.integers(0, 100), st.data())
def test_a_radius_is_given_up_where_its_chance_is_below_one_per_cent(n, k0, data):
    # the criterion as it stands in the source, in terms of hits
    hits, radius = data.draw(st.integers(0, n)), 0.25
    rule = RadiiRule(radii=(radius,), most=N, law=NOISE, alpha=ALPHA)
    q = 1.0 - rule.tails(3072)[0]
    needed = N - max(m for m in range(1400, 1600) if clopper_pearson_upper(m, N, 0.8 * ALPHA) <= 1.0 - q)
    to_come = N - n
    a, b = hits + k0 + 0.5, n - hits + 100 - k0 + 0.5
    mean, weight = a / (a + b), to_come * (a + b + 1) / (a + b + to_come) - 1
    chance = special.betaincc(mean * weight, (1 - mean) * weight, np.clip((needed - hits - 0.5) / to_come, 0, 1))
    goes_on = hits >= needed or (needed - hits <= to_come and chance >= 0.01)
    verdict = look(hits, n, rule=rule, pilot=Votes({1: k0, 0: max(0, min(100 - k0, k0 - 1))}, 100))
    if k0 == 0 or verdict.held:  # no label is selected, or the question is settled
        assert verdict.more is None
    elif abs(chance - 0.01) > 1e-9:
        assert (verdict.more is not None) == goes_on


def test_more_hits_never_hold_less():
    for n in looks(N)[1:20]:
        verdicts = [look(hits, n) for hits in range(n + 1)]
        assert [v.held for v in verdicts] == sorted(v.held for v in verdicts)


def test_it_stops_when_all_is_settled():
    assert look(100, 100, rule=RadiiRule(radii=(0.0,), most=N, law=NOISE, alpha=ALPHA)).more is None
    assert look(100, 100).more == 200
    assert look(0, 0, pilot=Votes({1: 20, 0: 19}, 100)).more is None  # hopeless from the selection votes on
    assert look(0, 0, pilot=Votes({}, 100)).more is None  # nobody to certify
    assert look(9990, N).more is None
    assert look(0, 0).more == 100


def test_what_held_once_holds():
    assert look(85, 100, held=2).held == 2
    # the next question is the third radius; the second alone would still be open
    assert look(90, 100, held=1).more == 200
    assert look(90, 100, held=2).more is None


def test_missing_votes_are_misses():
    for lost in range(0, 30, 3):
        full = RULE.look(PILOT, Votes({1: 1000 - lost, 0: lost}, 1000), held=0, dim=3)
        assert RULE.look(PILOT, Votes({1: 1000 - lost}, 1000), held=0, dim=3) == full


def test_with_too_few_votes_nothing_is_asked():
    rule = RadiiRule(radii=(0.5,), most=20, law=NOISE, alpha=ALPHA)
    assert rule.look(PILOT, Votes({}, 0), held=0, dim=3).more is None
    least = rule.least_votes(3)[0]
    assert (
        RadiiRule(radii=(0.5,), most=least, law=NOISE, alpha=ALPHA)
        .look(PILOT, Votes({1: least}, least), held=0, dim=3)
        .held
        == 1
    )
    short = RadiiRule(radii=(0.5,), most=least - 1, law=NOISE, alpha=ALPHA)
    assert short.look(PILOT, Votes({1: least - 1}, least - 1), held=0, dim=3).held == 0


def test_the_certificate_is_that_of_the_best_look():
    best, last = Votes({1: 295, 0: 5}, 300), Votes({1: 480, 0: 20}, 500)
    certificate = RULE.certify(PILOT, StoppedVotes(last, best), 3072)
    assert certificate.answer == 1
    assert 0.25 < certificate.radius < 0.25 + 1e-8
    assert certificate.certifier == "curve"
    assert certificate.estimation == last
    nothing = RULE.certify(PILOT, StoppedVotes(last, Votes({}, 0)), 3072)
    assert nothing.abstained
    in_max = RadiiRule(radii=(0.004,), most=N, law=NOISE, alpha=ALPHA, norm=float("inf"))
    promised = in_max.certify(PILOT, StoppedVotes(Votes({1: 900}, 900), Votes({1: 900}, 900)), 3072)
    assert 0.004 < promised.radius < 0.004001
    assert promised.certifier == "decision"


def test_bounds_for_a_fixed_number_refuse_votes_that_were_looked_at():
    stopped = StoppedVotes(Votes({1: 300}, 300), Votes({1: 300}, 300))
    for certifier in (Cohen(), Multiclass()):
        assert not isinstance(certifier, StoppingRule)
        with pytest.raises(
            BadParameter, match="for a number of votes fixed in advance, but these were drawn by a rule"
        ):
            certifier.certify(PILOT, stopped, NOISE, alpha=ALPHA, dim=3)
    with pytest.raises(BadParameter, match="expected votes of a rule that stops early"):
        RULE.certify(PILOT, Votes({1: 300}, 300), 3)


def test_impossible_looks_are_refused():
    with pytest.raises(BadParameter, match="this rule does not look at 150 votes"):
        look(150, 150)
    with pytest.raises(BadParameter, match="votes of an earlier look"):
        StoppedVotes(Votes({1: 300, 0: 2}, 302), Votes({1: 100, 0: 3}, 103))
    with pytest.raises(BadParameter, match="votes of an earlier look"):
        StoppedVotes(Votes({1: 300}, 300), Votes({1: 100}, 101))
