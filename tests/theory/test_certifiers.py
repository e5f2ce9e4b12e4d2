import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import round_down
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.prediction import predict_votes
from dsmooth.theory.rules import certifier_named
from dsmooth.theory.votes import Votes

UNIT = Gaussian(1.0)


def certify(certifier, counts, n, alpha=0.001, selection=None):
    votes = Votes(counts, n)
    return certifier.certify(selection or Votes({0: 1}, 1), votes, UNIT, alpha=alpha, dim=3072)


# (pA, pB) -> radii at n = 1e5, alpha = .001, sigma = 1, as published for the two rules (share .9)
@pytest.mark.parametrize(
    ("p_a", "p_b", "cohen", "multiclass"),
    [(0.9, 0.02, 1.265, 1.642), (0.7, 0.1, 0.512, 0.886), (0.55, 0.1, 0.113, 0.687), (0.45, 0.1, None, 0.562)],
)
def test_known_radii(p_a, p_b, cohen, multiclass):
    n, first, second = 100_000, round(100_000 * p_a), round(100_000 * p_b)
    rest = n - first - second
    weak = -(-rest // second)  # so many further labels, none of them stronger than the rival
    votes = {0: first, 1: second, **{2 + i: rest // weak + (i < rest % weak) for i in range(weak)}}
    for certifier, radius in ((Cohen(), cohen), (Multiclass(), multiclass)):
        certificate = certify(certifier, votes, n)
        if radius is None:
            assert certificate.abstained
        else:
            assert certificate.radius == pytest.approx(radius, abs=0.0025)


def test_all_votes_agree_is_the_one_case_where_cohen_promises_more():
    cohen, multiclass = certify(Cohen(), {0: 100}, 100), certify(Multiclass(), {0: 100}, 100)
    assert round_down(cohen.radius, 3) == "1.500"
    assert round_down(multiclass.radius, 3) in ("1.492", "1.493")


def test_missing_votes_are_the_rivals():
    # pA = .40, pB = .45, and every answer of B times out: A must not be certified
    votes = Votes({"A": 400, "C": 150}, 1000)
    assert Multiclass().certify(Votes({"A": 10}, 10), votes, UNIT, alpha=0.001, dim=1).abstained
    forgotten = Votes({"A": 400, "C": 150}, 550)  # the same with the failed queries left out: what must not be done
    assert not Multiclass().certify(Votes({"A": 10}, 10), forgotten, UNIT, alpha=0.001, dim=1).abstained


@pytest.mark.parametrize("certifier", [Cohen(), Multiclass()])
@given(data=st.data())
def test_a_lost_vote_never_helps(certifier, data):
    counts = data.draw(st.dictionaries(st.integers(0, 5), st.integers(1, 400), min_size=1))
    trials = sum(counts.values())
    label = data.draw(st.sampled_from(sorted(counts)))
    selection = Votes({data.draw(st.integers(0, 5)): 1}, 1)
    lost = {**counts, label: counts[label] - 1}
    before = certifier.certify(selection, Votes(counts, trials), UNIT, alpha=0.01, dim=1)
    after = certifier.certify(selection, Votes(lost, trials), UNIT, alpha=0.01, dim=1)
    if label == next(iter(selection.counts)):
        assert after.radius <= before.radius
    elif not before.abstained:
        # the rival's vote became a missing one: it counts for the strongest rival now
        assert after.radius <= before.radius


def test_selection_alone_chooses_the_label():
    certificate = certify(Cohen(), {1: 990, 0: 10}, 1000, selection=Votes({0: 3, 1: 2}, 5))
    assert certificate.abstained
    empty = Cohen().certify(Votes({}, 5), Votes({1: 1000}, 1000), UNIT, alpha=0.001, dim=1)
    assert empty.abstained
    assert empty.radius == 0.0


def test_ties_in_the_selection_are_decided_by_the_counts_alone():
    for counts in ({4: 2, 1: 2}, {1: 2, 4: 2}):
        assert certify(Cohen(), {1: 1000}, 1000, selection=Votes(counts, 4)).answer == 1


def test_no_certificate_without_votes():
    with pytest.raises(BadParameter, match="at least one vote"):
        Cohen().certify(Votes({}, 0), Votes({0: 10}, 10), UNIT, alpha=0.1, dim=1)


@pytest.mark.parametrize(("counts", "trials"), [({0: 11}, 10), ({0: -1}, 10), ({}, -1)])
def test_impossible_votes_are_refused(counts, trials):
    with pytest.raises(BadParameter, match=r"expected counts|must be a whole number"):
        Votes(counts, trials)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 50))
def test_predict_is_the_two_sided_binomial_test_with_the_missing_for_the_runner_up(first, second, missing):
    first, second = max(first, second), min(first, second)
    prediction = predict_votes(Votes({7: first, 2: second}, first + second + missing), 0.01)
    rival = second + missing
    if first == 0:
        assert prediction.abstained
    elif first <= rival:
        assert prediction.p_value == 1.0
    else:
        oracle = stats.binomtest(first, first + rival, 0.5).pvalue
        assert prediction.p_value == pytest.approx(oracle, rel=2e-9)
        assert prediction.abstained == (prediction.p_value > 0.01)
        assert prediction.abstained or prediction.answer == 7


def test_certifiers_by_name():
    assert certifier_named("cohen") == Cohen()
    for certifier in (Cohen(randomised=True), Multiclass(randomised=True), Multiclass(0.5, randomised=True)):
        assert certifier_named(certifier.name) == certifier
    assert certifier_named("multiclass-0.5-randomised").name == "multiclass-0.5-randomised"
    with pytest.raises(BadParameter, match="multiclass, cohen"):
        certifier_named("best")
    with pytest.raises(BadParameter, match="share"):
        Multiclass(share=1.0)


@given(st.floats(0, 1e4), st.integers(1, 12))
def test_shown_numbers_are_never_above(value, places):
    from decimal import Decimal

    shown = Decimal(round_down(value, places))
    assert shown <= Decimal(value)
    assert Decimal(value) - shown < Decimal(10) ** -places


def test_a_certificate_speaks_in_other_norms_too():
    certificate = certify(Multiclass(), {0: 1000}, 1000)
    assert certificate.radius_in(math.inf) == pytest.approx(certificate.radius / math.sqrt(3072), rel=1e-7)
    assert "0: no change below l2 distance" in str(certificate)
    assert "abstain" in str(certify(Multiclass(), {1: 1000}, 1000))


def test_counts_come_as_whatever_integer_type():
    assert Votes({np.int64(3): np.int64(4)}, 5).missing == 1


@pytest.mark.parametrize("made", [certify(Cohen(), {0: 1000}, 1000), predict_votes(Votes({0: 1000}, 1000), 0.001)])
def test_the_former_name_of_an_answer_warns_and_works(made):
    with pytest.warns(DeprecationWarning, match=f"{type(made).__name__}.label is now {type(made).__name__}.answer"):
        assert made.label == made.answer == 0
