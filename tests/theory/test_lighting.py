"""Noise on brightness, colour and ramps: what its radius speaks of, and that nothing else is promised."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from dsmooth.errors import BadParameter
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.known import source_of
from dsmooth.smoothing.sources.lighting import LightingSource
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.votes import Phase

SHAPE = (4, 5, 3)
RNG = np.random.default_rng(0)


def cost_of(law, rest, coefficients):
    """|r|^2 / sigma^2 + sum b_j^2 / s_j^2 of a given decomposition, pixels in [0, 1]."""
    cost = Fraction(int((rest.astype(np.int64) ** 2).sum())) / Fraction(law.sigma) ** 2
    for b, direction in zip(coefficients, law.directions(rest.shape), strict=True):
        cost += (Fraction(int(b)) / Fraction(direction.law.sigma)) ** 2
    return cost / 255**2


@pytest.mark.parametrize(
    "law", [Lighting(0.25, brightness=0.1), Lighting(0.1, ramp=0.2), Lighting(0.5, colour=0.05)], ids=str
)
def test_a_change_is_covered_by_the_best_of_all_decompositions_and_no_better_one(law):
    """Exhaustion over the coefficients: what is called covered is covered, and little that is covered is missed."""
    directions = law.directions(SHAPE)
    for _ in range(20):
        b = RNG.integers(-12, 13, len(directions))
        steps = RNG.integers(-9, 10, SHAPE) + sum(k * d.image for k, d in zip(b, directions, strict=True))
        tried = itertools.product(range(-25, 26), repeat=len(directions)) if len(directions) < 3 else [tuple(b)]
        least = min(
            cost_of(law, steps - sum(k * d.image for k, d in zip(each, directions, strict=True)), each)
            for each in tried
        )
        found = law._cost(steps)
        if len(directions) < 3:
            assert least <= found <= least * Fraction(1001, 1000)
        else:
            assert found <= least
        radius = law.sigma * float(found) ** 0.5
        assert law.covers(steps, Fraction(radius * (1 + 1e-9)))
        assert not law.covers(steps, Fraction(radius * (1 - 1e-9)))


def test_brightness_alone_goes_as_far_as_is_said():
    law = Lighting(0.25, brightness=0.1, ramp=0.2)
    radius = 0.25 * 1.6
    allowed = law.allowed(radius)
    assert allowed == {"brightness": pytest.approx(0.16), "ramp": pytest.approx(0.32)}
    most = int(255 * allowed["brightness"])
    for sign in (1, -1):
        assert law.covers(np.full((32, 32, 3), sign * most), Fraction(radius))
        assert not law.covers(np.full((32, 32, 3), sign * (most + 2)), Fraction(radius))
    assert not Gaussian(0.25).covers(np.full((32, 32, 3), 10), Fraction(radius))


def test_what_is_clipped_counts_as_a_change_of_the_pixels():
    law = Lighting(0.25, brightness=0.1)
    image = np.full((8, 8, 3), 200)
    image[0, 0] = 250
    brighter = np.clip(image + 20, 0, 255)
    r = np.zeros((8, 8, 3), np.int64)
    r[0, 0] = -15
    assert law._cost(brighter - image) <= cost_of(law, r, [20])


def test_ramps_are_the_same_from_both_sides():
    for length in (1, 2, 5, 32, 224):
        across = Lighting(0.25, ramp=0.1).directions((3, length, 1))[0].image
        assert (across == -across[:, ::-1]).all()
        assert abs(across).max() <= 8
        assert (np.diff(across, axis=1) >= 0).all()
    assert across.max() == 8


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "needs one of brightness, colour, ramp above 0"),
        ({"brightness": 0.0001}, "brightness must be 0 or from 0.002 to 1"),
        ({"colour": float("nan")}, "colour must be 0 or"),
        ({"ramp": 0.01}, "ramp must be 0 or from 0.016 to 1"),
        ({"brightness": "a lot"}, "brightness must be"),
        ({"brightness": True}, "brightness must be"),
    ],
)
def test_strengths_out_of_range_are_refused(values, said):
    with pytest.raises(BadParameter, match=said):
        Lighting(0.25, **values)


def test_a_grey_image_has_no_colour():
    with pytest.raises(BadParameter, match="needs images of 3 channels, got 1"):
        Lighting(0.25, colour=0.1).directions((8, 8, 1))
    with pytest.raises(BadParameter, match="has no light"):
        LightingSource(Uniform(3))


def test_the_whole_image_moves_and_no_word_is_shared_between_samples():
    law = Lighting(0.05, brightness=0.2, ramp=0.1)
    grey, stream = np.full((6, 8, 3), 128, np.uint8), bytes(range(16))
    drawn = np.asarray(
        source_of(law).noisy([(grey, Chunk(Phase.ESTIMATION, stream, 0, 4000))], 4000).steps, dtype=float
    ).reshape(4000, -1)
    drawn -= 128
    images = np.stack([direction.image.reshape(-1) for direction in law.directions(grey.shape)])
    found = drawn @ np.linalg.pinv(images)
    for j, strength in enumerate((0.2, 0.1 / 8, 0.1 / 8)):
        exact = (255 * strength) ** 2 + (255 * 0.05) ** 2 / (images[j] ** 2).sum()  # and what the pixels add to the fit
        assert abs(found[:, j].var() / exact - 1) < 7 * (2 / 4000) ** 0.5
        assert abs(np.corrcoef(found[1:, j], found[:-1, j])[0, 1]) < 7 / 4000**0.5
    rest = drawn - found @ images
    assert abs(rest.std() / (255 * 0.05) / (1 - 3 / 144) ** 0.5 - 1) < 0.01
    assert abs(np.corrcoef(found.T) - np.eye(3)).max() < 7 / 4000**0.5
