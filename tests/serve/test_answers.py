"""What a client is told: numbers rounded to the safe side, and words of strangers that no header chokes on."""

import mpmath
import pytest
from h11._util import LocalProtocolError
from hypothesis import given
from hypothesis import strategies as st

from dsmooth.errors import BadModel, BadParameter, Drifted, Expired, ServiceStopped
from dsmooth.serve.answers import Answer, header_text
from dsmooth.serve.refusals import refusal_of
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import Mode
from dsmooth.theory.votes import StoppedVotes, Votes
from support import question

LAW = Gaussian(0.25)


def answer(votes, **terms):
    asked = question(LAW, **terms)
    certificate = asked.plan.certify(Votes({1: 20}, 20), votes, 768)
    return Answer(question=asked, promise=certificate, name="cat", image="", commitment="", id="x")


def clopper_pearson(hits, trials, alpha):
    """The p at which so many hits or more have the probability alpha, with 50 digits."""
    with mpmath.workdps(50):
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        for _ in range(200):
            p = (low + high) / 2
            tail = mpmath.betainc(hits, trials - hits + 1, 0, p, regularized=True)
            low, high = (p, high) if tail < alpha else (low, p)
        return low


@pytest.mark.parametrize("hits", [100, 99, 90, 70])
@pytest.mark.parametrize(("bound", "share"), [("cohen", 1), ("multiclass", mpmath.mpf("0.9"))])
def test_the_score_is_a_lower_bound_by_the_rule_of_the_certificate(hits, bound, share):
    told = answer(Votes({1: hits, 2: 100 - hits}, 100), n0=20, n=100, bound=bound)
    exact = clopper_pearson(hits, 100, mpmath.mpf("0.001") * share)
    assert exact - mpmath.mpf("1e-3") < mpmath.mpf(told.least_probability) <= exact


def test_the_score_of_stopped_votes_is_what_their_radius_needs():
    asked = question(LAW, n0=20, n=1000, mode=Mode("decision", (0.2,)))
    best = Votes({1: 100}, 100)
    certificate = asked.plan.certify(Votes({1: 20}, 20), StoppedVotes(best, best), 768)
    told = Answer(question=asked, promise=certificate, name="cat", image="", commitment="", id="x")
    with mpmath.workdps(30):
        needed = mpmath.ncdf(mpmath.mpf("0.2") / mpmath.mpf("0.25"))
    assert told.radius == "0.200000000"
    assert float(told.least_probability) == pytest.approx(float(needed), abs=1e-3)


def test_an_abstention_promises_nothing():
    told = answer(Votes({1: 50, 2: 50}, 100), n0=20, n=100)
    assert (told.answer, told.radius, told.least_probability) == (None, "0", "0")


@given(st.text(max_size=400))
def test_every_label_can_be_a_header(text):
    import h11

    value = header_text(text)
    h11.Response(status_code=200, headers=[("Dsmooth-Label", value)])
    assert value == value.strip()
    assert value.isascii()
    from urllib.parse import unquote

    if len(value) < 1000:
        assert unquote(value, errors="strict") == text


def test_what_h11_refuses_is_what_is_avoided():
    import h11

    with pytest.raises(LocalProtocolError):
        h11.Response(status_code=200, headers=[("Dsmooth-Label", "a\nb")])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadParameter("n"), 400), (BadModel("broken"), 500), (Drifted("changed"), 500), (Expired("late"), 504),
        (ServiceStopped("over"), 503),
    ],
)  # fmt: skip
def test_whose_fault_it_is(error, status):
    assert refusal_of(error).status == status
