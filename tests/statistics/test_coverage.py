"""The guarantee itself, through a real session, on classifiers whose truth is known exactly.

Each test counts false claims over many images and compares with an exact binomial limit that a correct program exceeds
once in 1e9. The last test shows that wrong programs do not pass.
"""

from fractions import Fraction

import numpy as np
import pytest
from scipy import special

from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.bounds import weight_of
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.prediction import predict_votes
from dsmooth.theory.votes import Phase, Votes
from support import CHANCE, Linear, Sometimes, Threshold, at_most, different_images, put_to_the_vote, question

SIGMA, ALPHA, IMAGES, N = 0.25, 0.05, 3000, 120
NOISE = Gaussian(SIGMA)
LEVEL = 100


def tallies(module, value, *, seed=0):
    asked = question(NOISE, n0=9, n=N)
    return put_to_the_vote(module, different_images(IMAGES, value, (1, 3, 1)), asked, MasterKey.draw(seed), batch=4096)


def true_radius(value):
    return (value - LEVEL - 0.5) / 255


def outcomes(certifier, value, *, alpha=ALPHA, seed=0):
    return [
        certifier.certify(
            tally.votes(Phase.SELECTION), tally.votes(Phase.ESTIMATION), NOISE, alpha=alpha, norm=2, dim=3
        )
        for tally in tallies(Threshold(LEVEL), value, seed=seed)
    ]


def false_claims(certificates, value):
    truth = {1: true_radius(value), 0: -true_radius(value)}
    return sum(not c.abstained and c.radius > truth[c.answer] for c in certificates)


@pytest.mark.parametrize("certifier", [Cohen(), Multiclass()], ids=["cohen", "multiclass"])
@pytest.mark.parametrize("value", [101, 130, 190], ids=["at the threshold", "in between", "far away"])
def test_false_certificates_are_as_rare_as_alpha(certifier, value):
    certificates = outcomes(certifier, value)
    assert false_claims(certificates, value) <= at_most(IMAGES, ALPHA)
    if value == 190:  # and the promise is worth something
        radii = np.array([c.radius for c in certificates])
        assert np.median(radii) > 0.7 * true_radius(value)


def test_false_certificates_of_randomised_bounds_are_as_rare_as_alpha():
    """W is what each image's own stream says, from the key that the noise follows from."""
    value, n = 235, 30  # where unanimity is usual
    asked = question(NOISE, n0=5, n=n, alpha=ALPHA, bound="cohen-randomised")
    count = IMAGES // 2
    images = different_images(count, value, (1, 3, 1))
    found = [
        (tally, tally.votes(Phase.SELECTION), tally.votes(Phase.ESTIMATION))
        for tally in put_to_the_vote(Threshold(LEVEL), images, asked, MasterKey.draw(5), batch=4096)
    ]
    weights = [weight_of(tally.streams[Phase.BOUND]) for tally, _, _ in found]
    certificates = [tally.certificate(asked) for tally, _, _ in found]
    assert false_claims(certificates, value) <= at_most(count, ALPHA)
    both = Multiclass(randomised=True)
    of_both = [
        both.certify(first, votes, NOISE, alpha=ALPHA, dim=3, weight=weight)
        for (_, first, votes), weight in zip(found, weights, strict=True)
    ]
    assert false_claims(of_both, value) <= at_most(count, ALPHA)
    plain = [Cohen().certify(first, votes, NOISE, alpha=ALPHA, dim=3) for _, first, votes in found]
    assert all(c.radius >= without.radius for c, without in zip(certificates, plain, strict=True))
    assert np.mean([c.radius for c in certificates]) > 1.1 * np.mean([c.radius for c in plain])
    # whoever takes the best W of ten keys for each image, and asks the networks under that one alone, does not pass
    weights = np.random.default_rng(0).random((count, 10)).min(axis=1)
    ground = [
        asked.plan.certify(first, votes, 3, weight) for (_, first, votes), weight in zip(found, weights, strict=True)
    ]
    assert false_claims(ground, value) > 3 * at_most(count, ALPHA)


def test_a_linear_classifier_has_the_radius_of_its_margin():
    # class 1 where the mean of 27 coordinates is above 1/2; the sum of rounded Gaussians has variance 255^2 sigma^2 + 1/12
    # a coordinate, and is whole: P(class 1) = Phi((sum - 27 * 127.5) / sd), the margin is in the middle between two sums
    shape, dim = (3, 3, 3), 27
    images = np.full((800, *shape), 127, dtype=np.uint8)
    images.reshape(800, -1)[:, 0] = 220
    images.reshape(800, -1)[:, 1] = np.arange(800) // 25 + 110
    images.reshape(800, -1)[:, 2] = np.arange(800) % 25 + 110
    spread = np.sqrt(dim * ((255 * SIGMA) ** 2 + 1 / 12))
    right = trials = false = 0
    expected = 0.0
    for tally in put_to_the_vote(Linear(), images, question(NOISE, n0=9, n=N), MasterKey.draw(3), batch=2048):
        margin = float(tally.image.pixels.sum()) - dim * 127.5
        votes = tally.votes(Phase.ESTIMATION)
        right, trials = right + votes.of(1), trials + votes.trials
        expected += votes.trials * float(special.ndtr(margin / spread))
        certificate = Cohen().certify(tally.votes(Phase.SELECTION), votes, NOISE, alpha=ALPHA, dim=dim)
        truth = margin / 255 / np.sqrt(dim) * (1 if certificate.answer == 1 else -1)
        false += not certificate.abstained and certificate.radius > truth
    assert false <= at_most(800, ALPHA)
    deviation = np.sqrt(trials) / 2
    assert abs(right - expected) < -special.ndtri(CHANCE / 2) * deviation


@pytest.mark.parametrize("value", [101, 130, 160])
def test_certificates_that_cover_brightness_are_as_rarely_false(value):
    """The answer turns at images whose first pixel is at the level, by pixels and brightness together at the least cost."""
    law = Lighting(0.15, brightness=0.2)
    asked = question(law, n0=9, n=N)
    found = [
        Cohen().certify(tally.votes(Phase.SELECTION), tally.votes(Phase.ESTIMATION), law, alpha=ALPHA, dim=3)
        for tally in put_to_the_vote(
            Threshold(LEVEL), different_images(IMAGES, value, (1, 3, 1)), asked, MasterKey.draw(1), batch=4096
        )
    ]
    turning = np.array([[[LEVEL - value], [0], [0]]]) + np.zeros(
        (1, 3, 1), np.int64
    )  # by whole steps of the first pixel
    together = min(
        (turning + b - np.array([[[b], [0], [0]]]) for b in range(LEVEL - value, 1)), key=lambda steps: law._cost(steps)
    )
    false = sum(not c.abstained and (c.answer == 0 or law.covers(together, Fraction(c.radius))) for c in found)
    assert false <= at_most(IMAGES, ALPHA)
    if value == 160:
        border = law.sigma * float(law._cost(together)) ** 0.5
        assert border < 0.7 * 60 / 255  # brightness takes most of the way
        assert 0.7 * border < np.median([c.radius for c in found]) < border
        wider = [c for c in found if law.covers(together, Fraction(c.radius) * Fraction(3, 2))]
        assert len(wider) > at_most(IMAGES, ALPHA)  # claims of half as much again would not pass


@pytest.mark.parametrize("value", [101, 106])
def test_wrong_predictions_are_as_rare_as_alpha(value):
    wrong = answered = 0
    for tally in tallies(Threshold(LEVEL), value):
        prediction = predict_votes(tally.votes(Phase.ESTIMATION), ALPHA)
        wrong += prediction.answer == 0
        answered += not prediction.abstained
    assert wrong <= at_most(IMAGES, ALPHA)
    if value == 106:
        assert answered > 0


def test_missing_votes_never_certify_a_loser():
    # class 1 is answered with probability .40; the other 60 % of the answers are lost, and may all be one rival's
    value, lost = LEVEL, special.ndtri(0.40) * 255 * SIGMA
    module = Sometimes(round(value - lost))
    claims = naive = 0
    for tally in tallies(module, value):
        votes = tally.votes(Phase.ESTIMATION)
        assert votes.missing > 0
        selection = tally.votes(Phase.SELECTION)
        claims += not Multiclass().certify(selection, votes, NOISE, alpha=ALPHA, dim=3).abstained
        forgotten = Votes(votes.counts, sum(votes.counts.values()) or 1)
        naive += not Multiclass().certify(selection, forgotten, NOISE, alpha=ALPHA, dim=3).abstained
    assert claims <= at_most(IMAGES, ALPHA)
    assert naive > 0.95 * IMAGES  # leaving the missing out certifies falsely nearly every time


def test_these_tests_notice_wrong_programs():
    limit = at_most(IMAGES, ALPHA)
    # a bound at three times its level
    assert false_claims(outcomes(Cohen(), 130, alpha=3 * ALPHA), 130) > limit
    # a plain estimate in place of a bound
    plain = sum(
        NOISE.radius(tail=1 - p, rival=1 - p, dim=3) > true_radius(130)
        for tally in tallies(Threshold(LEVEL), 130)
        if (p := tally.votes(Phase.ESTIMATION).of(1) / N) < 1
    )
    assert plain > limit
    # looking after every ten samples and stopping at the first certificate
    peeked = 0
    p = float(special.ndtr(0.5 / (255 * SIGMA)))
    rng = np.random.default_rng(0)
    votes = (rng.random((IMAGES, 400)) < p).cumsum(axis=1)
    for row in votes:
        for n in range(10, 401, 10):
            certificate = Cohen().certify(Votes({1: 1}, 1), Votes({1: int(row[n - 1])}, n), NOISE, alpha=ALPHA, dim=3)
            if certificate.radius > true_radius(101):
                peeked += 1
                break
    assert peeked > limit
