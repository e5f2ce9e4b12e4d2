"""Covers keep alpha although each centre is tested at all of it: one false centre among M at the border, exact limits."""

import numpy as np
import pytest

from dsmooth.errors import BadParameter
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.covers import CoverRule, CoverVotes
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.modes import Mode
from dsmooth.theory.threats.covering import Cover
from dsmooth.theory.threats.known import threat_from_text
from dsmooth.theory.threats.listed import Listed
from dsmooth.theory.votes import StoppedVotes, Votes
from support import Threshold, at_most, different_images, put_to_the_vote, question

ALPHA, N0, SIGMA = 0.05, 20, 0.25
LEVEL, BORDER = 100, 150
RHO = (BORDER - LEVEL - 0.5) / 255
"""The true radius of Threshold(LEVEL) where the first coordinate is BORDER: there "beyond RHO" is false, and just so."""


def around(*firsts):
    """The images whose first coordinate is one of these, the others as they are: more than RHO apart."""

    def make(pixels):
        made = np.repeat(pixels[None], len(firsts), axis=0)
        made[:, 0, 0, 0] = firsts
        return list(made)

    return Listed("first coordinates", make)


def certified(threat, images, *, n=400, seed=0):
    mode = Mode("cover", (RHO,), against=threat)
    asked = question(Gaussian(SIGMA), n0=N0, n=n, alpha=ALPHA, mode=mode)
    named = different_images(images, 255, (1, 9, 1))
    tallies = put_to_the_vote(Threshold(LEVEL), named, asked, MasterKey.draw(seed), batch=4096)
    return [(tally, tally.certificate(asked)) for tally in tallies]


@pytest.mark.parametrize("images", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_one_false_centre_among_others_is_certified_as_rarely_as_alpha(images):
    """And nearly as often: the others are sure to hold, so the whole alpha is there for the one at the border."""
    found = certified(around(205, BORDER), images)
    false = sum(not certificate.abstained for _, certificate in found)
    assert 0.2 * ALPHA * images < false <= at_most(images, ALPHA)
    assert {tally.cover.rho for tally, _ in found} == {RHO}
    assert {len(tally.centres) for tally, _ in found} == {3}


def test_true_centres_are_certified():
    found = certified(around(205), 60)
    assert all(certificate.answer == 1 and certificate.radius >= RHO for _, certificate in found)
    assert all(certificate.centres == 2 for _, certificate in found)
    assert "first coordinates (2 centres)" in str(found[0][1])


def test_nothing_is_asked_beyond_the_first_centre_that_fails():
    """In order: the image, then the others from the far end; 30 fails at once, and 205 is never counted."""
    found = certified(around(205, 155, 30), 20)
    for tally, certificate in found:
        assert certificate.abstained
        assert len(tally.estimation.parts) < 4


@pytest.mark.slow
def test_who_tries_again_with_a_smaller_radius_is_found_out():
    """One false centre at its border for each of several radii, one after the other until one is certified: beyond alpha.

    Each of the tries keeps alpha, which is what the tests above say; together they do not.
    """
    tries, images, false = 4, 1500, set()
    for seed in range(tries):
        found = certified(around(205, BORDER), images, seed=seed)
        false |= {tally.image.name for tally, certificate in found if not certificate.abstained}
    assert len(false) > at_most(images, ALPHA)


# --- the choice of the radius ----------------------------------------------------------------------------------------


def rule(radii, threat="contrast 0.8 1.2", **changes):
    terms = {"most": 1000, "law": Gaussian(SIGMA), "alpha": 0.001}
    return CoverRule(threat=threat_from_text(threat), radii=radii, **{**terms, **changes})


def covers(**centres):
    image = np.zeros((1, 1, 1), np.uint8)
    return {float(f"0.{rho[1:]}"): Cover(float(f"0.{rho[1:]}"), (image,) * count) for rho, count in centres.items()}


def test_the_radius_is_the_largest_that_the_image_is_likely_to_have():
    chosen = rule((0.1, 0.2, 0.4, 0.8))
    at_hand = covers(r1=30, r2=20, r4=10, r8=5)
    assert chosen.choose(at_hand, Votes({1: 100}, 100), 12).rho == 0.4
    assert chosen.choose(at_hand, Votes({1: 90, 0: 10}, 100), 12).rho == 0.2
    assert chosen.choose(at_hand, Votes({1: 66, 0: 34}, 100), 12).rho == 0.1  # none is likely: the easiest
    assert chosen.choose(at_hand, Votes({1: 40, 0: 60}, 100), 12).rho == 0.1
    assert chosen.choose(at_hand, Votes({1: 30, 0: 28}, 100), 12) is None
    assert chosen.choose(covers(r1=7, r2=7, r4=7), Votes({1: 100}, 100), 12).rho == 0.1  # no fewer centres: the easiest
    assert chosen.choose({}, Votes({1: 100}, 100), 12) is None


def test_only_the_rule_that_chose_a_cover_concludes_from_its_votes():
    votes = CoverVotes(0.0, 0, ())
    certificate = rule((0.25,)).certify(Votes({1: 20}, 20), votes, 12)
    assert certificate.abstained
    with pytest.raises(BadParameter, match="at the centres of a cover, got votes at one image"):
        rule((0.25,)).certify(Votes({1: 20}, 20), Votes({1: 400}, 400), 12)
    with pytest.raises(BadParameter, match="votes at the centres of a cover, got 0 of 3"):
        CoverVotes(0.0, 3, ())
    with pytest.raises(BadParameter, match="measured in l2, under Gaussian noise, got noise uniform"):
        rule((0.25,), law=Uniform(127))


@pytest.mark.slow
def test_one_false_centre_among_a_hundred_is_certified_as_rarely_as_alpha():
    """The rule alone, many more times: whatever the place of the false one."""
    images, centres, chance = 20000, 100, np.random.default_rng(0)
    whole = rule((RHO,), most=300, alpha=ALPHA)
    selection, q = Votes({1: N0}, N0), 1.0 - Gaussian(SIGMA).tail(RHO, dim=12)
    sure, false = votes_at_a_centre(whole, selection, [True] * 300), 0
    for place in chance.integers(0, centres, images).tolist():
        parts = [*[sure] * place, votes_at_a_centre(whole, selection, chance.random(300) < q)]
        if whole.held(selection, parts[-1], RHO, 12):  # nothing is asked beyond the first centre that fails
            parts += [sure] * (centres - len(parts))
        false += not whole.certify(selection, CoverVotes(RHO, centres, tuple(parts)), 12).abstained
    assert 0.2 * ALPHA * images < false <= at_most(images, ALPHA)


def votes_at_a_centre(whole, selection, answers):
    """As the rule looks at them: the votes at which it stops, where True is one for the label."""
    one, held, best, trials = whole.rule(RHO), 0, Votes({}, 0), 0
    while True:
        votes = Votes({1: int(np.sum(answers[:trials]))}, trials)
        verdict = one.look(selection, votes, held=held, dim=12)
        if verdict.held > held:
            held, best = verdict.held, votes
        if verdict.more is None:
            return StoppedVotes(votes, best)
        trials = verdict.more
