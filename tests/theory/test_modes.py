import math

import pytest

from dsmooth.errors import BadParameter
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import FIXED, Mode
from dsmooth.theory.pilot import PilotSizes
from dsmooth.theory.stopping import RadiiRule
from dsmooth.theory.votes import Votes

NOISE = Gaussian(0.25)
EVERY = [FIXED, Mode("curve", (0.5, 0.25)), Mode("decision", (0.5,)), Mode("radius"), Mode("radius", price=1e-5)]


@pytest.mark.parametrize("mode", EVERY, ids=str)
def test_modes_are_written_and_read(mode):
    assert Mode.from_json(mode.to_json()) == mode
    assert Mode.from_json(mode.settled(NOISE, 1000).to_json()) == mode.settled(NOISE, 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("best",), "mode must be one of fixed, curve, decision, radius, cover, got 'best'"),
        (("curve",), "mode curve needs radii"),
        (("decision",), "mode decision needs one radius, got none"),
        (("decision", (0.1, 0.2)), r"mode decision needs one radius, got \[0.1, 0.2\]"),
        (("fixed", (0.1,)), "radii belong to the modes curve and decision"),
        (("radius", (0.1,)), "radii belong to the modes curve and decision"),
        (("curve", (-0.1,)), "radii must be finite numbers of at least 0"),
        (("curve", (math.nan,)), "radii must be finite numbers of at least 0"),
        (("curve", ("x",)), "radii must be finite numbers of at least 0"),
        (("curve", (0.1,), 1.0), "lambda"),
        (("radius", (), -1.0), "lambda must be"),
    ],
)
def test_modes_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(BadParameter, match=message):
        Mode(*arguments)


def test_what_no_mode_writes_is_refused():
    for value in ({}, {"name": "fixed", "more": 1}, {"name": "curve", "radii": [0.5, 0.25]}):
        with pytest.raises(BadParameter, match="mode"):
            Mode.from_json(value)


def test_plans():
    fixed = FIXED.plan(Cohen(), NOISE, n=50, alpha=0.001)
    assert (fixed.demand, fixed.name) == (50, "cohen")
    assert FIXED.plan("multiclass", NOISE, n=50, alpha=0.001).name == "multiclass"
    curve = Mode("curve", (0.5, 0.25)).plan(Multiclass(), NOISE, n=50, alpha=0.001)
    assert curve == RadiiRule(radii=(0.25, 0.5), most=50, law=NOISE, alpha=0.001, norm=2.0)
    assert Mode("decision", (0.5,)).plan("cohen", NOISE, n=50, alpha=0.001).name == "decision"
    with pytest.raises(BadParameter, match="mode curve has its own bound, got cohen-randomised"):
        Mode("curve", (0.5,)).plan("cohen-randomised", NOISE, n=50, alpha=0.001)
    sized = Mode("radius").plan(Multiclass(), NOISE, n=1000, alpha=0.001)
    assert (sized.demand, sized.name) == (PilotSizes(1000, 0.001, 0.0001), "multiclass")
    with pytest.raises(BadParameter, match="n must be at most 10,000,000 in mode curve"):
        Mode("curve", (0.5,)).plan(Multiclass(), NOISE, n=10**8, alpha=0.001)


@pytest.mark.parametrize("certifier", [Cohen(), Multiclass()])
def test_without_estimation_votes_nothing_is_promised(certifier):
    plan = Mode("radius").plan(certifier, NOISE, n=1000, alpha=0.001)
    assert plan.certify(Votes({1: 55}, 100), Votes({}, 0), 3).abstained
