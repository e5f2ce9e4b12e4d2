"""The cascade: what its votes promise, on votes whose truth is known exactly."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from dsmooth import Cascade, Gaussian, Uniform, Votes
from dsmooth.errors import BadParameter
from dsmooth.theory.cascade import ScaleVotes, cascade_of, majority
from dsmooth.theory.rules import certifier_named
from support import at_most

ALPHA, IMAGES, N0, N = 0.05, 4000, 40, 200
CASCADE = Cascade((0.25, 1.0))
RADIUS = 0.1
"""The true one: both scales turn there."""


def draw(rng, trials, *shares):
    """Votes for classes 0, 1, ... of these probabilities."""
    return Votes(dict(enumerate(rng.multinomial(trials, shares).tolist())), trials)


def both_turn():
    """Votes of images whose cascade answers 0 at sigma .25, and no longer at RADIUS.

    There class 0 has lost its majority at sigma .25, and class 1 has won one at sigma 1.
    """
    rng = np.random.default_rng(0)
    rival = special.ndtr(-RADIUS / 1.0)
    lead = special.ndtr(RADIUS / 0.25)
    for _ in range(IMAGES):
        strong, weak = (0.1, rival, 0.9 - rival), (lead, 1.0 - lead, 0.0)
        yield [
            ScaleVotes(draw(rng, N0, *strong), draw(rng, N, *strong)),
            ScaleVotes(draw(rng, N0, *weak), draw(rng, N, *weak)),
        ]


def reached(scales):
    """The votes of the scales that this image would have been asked at."""
    return scales[:1] if majority(scales[0].selection) is not None else scales


def false_claims(certify):
    found = [certify(reached(scales)) for scales in both_turn()]
    return sum(c.answer is not None and (c.answer != 0 or c.radius > RADIUS) for c in found)


def test_false_certificates_are_as_rare_as_alpha_where_every_scale_turns_at_the_radius():
    assert false_claims(lambda scales: CASCADE.certify(scales, alpha=ALPHA, dim=3)) <= at_most(IMAGES, ALPHA)


def test_who_forgets_the_stronger_scales_is_found_out():
    def forgetful(scales):
        certificate = CASCADE.certify(scales, alpha=ALPHA, dim=3)
        alone = CASCADE.bound.certify(*vars_of(scales[-1]), CASCADE.laws[len(scales) - 1], alpha=ALPHA, dim=3)
        return replace(certificate, answer=alone.answer, radius=alone.radius)

    def careless(scales):  # the share of each scale as it was counted, without a bound
        votes = scales[-1].estimation
        lead = votes.of(0) / votes.trials
        rivals = [v.estimation.strongest_rival(0) / v.estimation.trials for v in scales[:-1]]
        radii = [0.25 * special.ndtri(min(lead, 0.999)), *(special.ndtri(1.0 - min(0.999, u)) for u in rivals)]
        certificate = CASCADE.certify(scales, alpha=ALPHA, dim=3)
        return replace(certificate, answer=0 if min(radii) > 0 else None, radius=max(0.0, float(min(radii))))

    assert false_claims(careless) > at_most(IMAGES, ALPHA)
    # the weaker scale turns later than the stronger one: forgetting the stronger one claims its radius
    shares, false = (0.05, 0.475, 0.475), 0
    rng = np.random.default_rng(1)
    for _ in range(500):
        scales = reached(
            [
                ScaleVotes(draw(rng, N0, *shares), draw(rng, N, *shares)),
                ScaleVotes(draw(rng, N0, 1.0), draw(rng, N, 0.999, 0.001)),
            ]
        )
        false += forgetful(scales).radius > special.ndtri(1.0 - 0.475)
    assert false > at_most(500, ALPHA)


def vars_of(votes):
    return votes.selection, votes.estimation


@pytest.mark.parametrize(("low", "high"), [(-0.2, 0.2), (-0.25, 0.2), (-0.3, 0.15)])
def test_no_radius_is_beyond_the_true_one_of_a_band(low, high):
    """Class 1 in a band of one coordinate, 0 below and 2 above it: where the answer turns is found by looking everywhere."""

    def shares(x, sigma):
        below, above = special.ndtr((low - x) / sigma), special.ndtr((x - high) / sigma)
        return np.array([below, 1.0 - below - above, above])

    def answer(x):
        for sigma in CASCADE.sigmas:
            if (p := shares(x, sigma)).max() > 0.5:
                return int(p.argmax())
        return None

    n, seen = 10**9, set()
    for x in np.linspace(-0.6, 0.6, 25):
        votes = []
        for sigma in CASCADE.sigmas:
            counts = Votes({i: int(count) for i, count in enumerate(n * shares(x, sigma))}, n)
            votes.append(ScaleVotes(counts, counts))
        certificate = CASCADE.certify(reached(votes), alpha=0.001, dim=1)
        seen.add((certificate.answer, certificate.scale))
        if certificate.answer is not None:
            assert certificate.answer == answer(x)
            inside = np.linspace(-certificate.radius, certificate.radius, 999)[1:-1]
            assert {answer(x + step) for step in inside} == {certificate.answer}
    assert {scale for _, scale in seen} >= set(CASCADE.laws)


def test_predictions_are_wrong_as_rarely_as_alpha():
    rng, n = np.random.default_rng(2), 60
    cases = {
        # what the cascade answers, and the shares at sigma 1 and .25
        "a majority of a hair": (0, (0.501, 0.499), (0.0, 1.0)),
        "no majority by a hair": (2, (0.4999, 0.4999, 0.0002), (0.0, 0.0, 1.0)),
    }
    for told, (right, strong, weak) in cases.items():
        wrong = 0
        for _ in range(IMAGES):
            votes = [draw(rng, n, *strong)]
            answer = CASCADE.predict(votes, alpha=ALPHA)
            if answer is None:
                answer = CASCADE.predict([*votes, draw(rng, n, *weak)], alpha=ALPHA)
            wrong += answer.answer not in (None, right)
        assert wrong <= at_most(IMAGES, ALPHA), told


def test_predictions_go_down_the_scales_and_answer():
    sure, none = Votes({3: 200}, 200), Votes({0: 70, 1: 70, 2: 60}, 200)
    assert CASCADE.predict([sure], alpha=0.001).answer == 3
    assert CASCADE.predict([none], alpha=0.001) is None
    found = CASCADE.predict([none, sure], alpha=0.001)
    assert (found.answer, found.votes) == (3, sure)
    assert CASCADE.predict([none, none], alpha=0.001).abstained
    near = CASCADE.predict([Votes({0: 100, 1: 100}, 200)], alpha=0.001)
    assert near.abstained  # it may have a majority or not: neither answered nor passed on
    lost = Votes({0: 70, 1: 70}, 200)  # 60 are missing: any of the two may have a majority
    assert CASCADE.predict([lost], alpha=0.001).abstained


def test_votes_of_every_scale_that_was_reached_are_needed():
    sure, none = ScaleVotes(Votes({3: 9}, 9), Votes({3: 99}, 99)), ScaleVotes(Votes({}, 9), Votes({}, 99))
    assert CASCADE.certify([sure], alpha=0.001, dim=3).scale == Gaussian(1.0)
    for scales in ([], [none], [sure, sure], [none, none, none]):
        with pytest.raises(BadParameter, match="expected votes of"):
            CASCADE.certify(scales, alpha=0.001, dim=3)
    # missing votes may all have been a rival's, which had the majority of the stronger scale then
    assert CASCADE.certify([none, sure], alpha=0.001, dim=3).abstained


def test_doubt_is_charged_at_every_scale():
    split = ScaleVotes(Votes({0: 3, 1: 3, 2: 3}, 9), Votes({0: 300, 1: 300, 2: 300}, 900))
    sure = ScaleVotes(Votes({0: 9}, 9), Votes({0: 890, 1: 10}, 900))
    scales = [split, sure]
    whole = CASCADE.certify(scales, alpha=0.001, dim=3)
    for doubtful in ((90, 0), (0, 200)):
        less = CASCADE.certify(scales, alpha=0.001, dim=3, doubtful=doubtful)
        assert 0.0 < less.radius < whole.radius
    assert CASCADE.certify(scales, alpha=0.001, dim=3, doubtful=(0, 900)).abstained
    assert CASCADE.certify(scales, alpha=0.001, dim=3, norm=float("inf")).radius == pytest.approx(
        whole.radius / 3**0.5, rel=1e-6
    )


@pytest.mark.parametrize("sigmas", [(0.5,), (0.5, 0.5), (0.5, 0.0), (0.5, "0.25"), tuple(np.linspace(0.1, 1, 17))])
def test_impossible_cascades(sigmas):
    with pytest.raises(BadParameter):
        Cascade(sigmas)


@pytest.mark.parametrize(
    "name", ["cascade-", "cascade-1", "cascade-0.25,1.0", "cascade-1.0,x", "cascade-1,0.25", "cascade"]
)
def test_impossible_names(name):
    with pytest.raises(BadParameter):
        certifier_named(name)


def test_the_name_says_which_cascade_and_the_rule_keeps_to_its_scales():
    assert CASCADE.bound.name == "cascade-1.0,0.25"
    assert cascade_of(CASCADE.bound.name) == CASCADE
    assert certifier_named(CASCADE.bound.name) == CASCADE.bound
    for law in (Gaussian(0.5), Uniform(127)):
        with pytest.raises(BadParameter, match="one of its sigmas"):
            CASCADE.bound.certify(Votes({0: 9}, 9), Votes({0: 99}, 99), law, alpha=0.001, dim=3)
