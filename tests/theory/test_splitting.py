"""Splitting noise, by exhaustion: every pair of pixels, every outcome, and whole classifiers."""

from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest

from dsmooth.errors import BadParameter
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.splitting import SplittingSource, template
from dsmooth.theory.certifiers import Exact
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.prediction import predict_exactly
from dsmooth.theory.votes import Phase, Votes

LEVELS = (2, 3, 20, 127, 254, 255, 256, 510, 1021)


def shown(images, levels):
    """(images, outcomes, coordinates): what the networks see, in steps of 1/1020."""
    rows = [
        np.asarray(
            SplittingSource(Splitting(levels)).noisy([(image, Chunk(Phase.PROBE, b"", 0, levels))], levels).steps
        )
        for image in images
    ]
    return np.stack(rows).reshape(len(rows), levels, -1)


def by_definition(x, split, half_width):
    """Levine and Feizi 2021 in exact fractions: what is shown of the pixel x (in [0, 1]) with a split at this place."""
    if half_width >= Fraction(1, 2):
        return (Fraction(x > split) + min(split, 1)) / 2
    cell = -((split - x) // (2 * half_width)) * 2 * half_width + split
    return (min(cell, 1) + max(cell - 2 * half_width, 0)) / 2


@pytest.mark.parametrize("levels", LEVELS)
def test_what_is_shown_is_what_the_paper_defines(levels):
    images = np.arange(0, 256, 5, dtype=np.uint8).reshape(-1, 1, 1, 1)
    made, first = shown(images, levels), int(template(1, levels)[0])
    for pixel, row in zip(images.reshape(-1).tolist(), made[:, :, 0].tolist(), strict=True):
        for outcome in range(0, levels, max(1, levels // 40)):
            split = Fraction(2 * ((first + outcome) % levels) + 1, 510)
            assert Fraction(row[outcome], 1020) == by_definition(Fraction(pixel, 255), split, Fraction(levels, 510))


@pytest.mark.parametrize("levels", LEVELS)
def test_a_step_of_one_pixel_changes_one_outcome(levels):
    """All pairs of pixels: j steps apart, exactly min(j, levels) outcomes show them on two sides of a split."""
    values = shown(np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1), levels)[:, :, 0]
    for pixel in range(256):
        changed = (values != values[pixel]).sum(axis=1)
        steps = np.minimum(abs(np.arange(256) - pixel), levels)
        assert (changed <= steps).all()
        if levels < 510:  # wider cells can be clipped to the same middle
            assert (changed == steps).all()


@pytest.mark.parametrize(("levels", "classes"), [(15, 2), (15, 5), (24, 3), (9, 2)])
def test_no_certificate_is_wrong_for_any_pair_of_images(levels, classes):
    """Random classifiers on all images of two pixels in 0..47: 1.3 million pairs in all that a certificate speaks of."""
    side = 48
    images = np.array([(a, b) for a in range(side) for b in range(side)], np.uint8)
    values = shown(images.reshape(-1, 1, 2, 1), levels).astype(np.int64)
    rng, exact, checked, wrong = np.random.default_rng(levels * classes), Exact(Splitting(levels), 1.0), 0, 0
    distance = np.abs(images[:, None].astype(int) - images[None]).sum(axis=2)
    for bias in (0.5, 0.8, 0.95):
        table = np.where(rng.random((1021, 1021)) < bias, 0, rng.integers(0, classes, (1021, 1021)))
        table[:, 300 + rng.integers(600) :] += 1  # and a border somewhere
        labels = table[values[:, :, 0], values[:, :, 1]] % classes
        counts = np.stack([(labels == label).sum(axis=1) for label in range(classes)], axis=1)
        answers = counts.argmax(axis=1)  # the smallest of those with as many
        for place, row in enumerate(counts.tolist()):
            votes = Votes({label: count for label, count in enumerate(row) if count}, levels)
            certificate = exact.certify(Votes({}, 0), votes, dim=2)
            if certificate.answer is None:
                continue
            assert certificate.answer == answers[place]
            near = distance[place] < 255 * certificate.radius + 0.5  # at the distance itself too
            checked += int(near.sum())
            wrong += int((answers[near] != certificate.answer).sum())
    assert wrong == 0
    assert checked > 50_000


def test_the_radius_is_not_shorter_than_it_has_to_be():
    """Unanimity of all but the missing step: the next split turns enough votes for a tie."""
    exact = Exact(Splitting(127), 1.0)
    certificate = exact.certify(Votes({}, 0), Votes({1: 100, 0: 27}, 127), dim=3072)
    assert certificate.answer == 1
    assert round(255 * certificate.radius) == (100 - 27 - 1) // 2
    for turned, answer in ((36, 1), (37, 0)):  # as many as steps; at 37 label 0 wins
        moved = predict_exactly(Votes({1: 100 - turned, 0: 27 + turned}, 127))
        assert moved.answer == answer
    lost = exact.certify(Votes({}, 0), Votes({1: 100, 0: 20}, 127), dim=3072)
    assert lost.radius == certificate.radius  # seven missing votes count for the rival


def test_the_template_is_public_and_stays():
    assert sha256(template(3072, 127).tobytes()).hexdigest()[:16] == "1b5f5049575bb58a"
    counts = np.bincount(template(100_000, 127), minlength=127)
    assert len(counts) == 127
    assert abs(counts - 100_000 / 127).max() < 6 * (100_000 / 127) ** 0.5


@pytest.mark.parametrize("levels", [0, 1, -5, 12.5, "127", True, 10**6])
def test_bad_levels_are_refused(levels):
    with pytest.raises(BadParameter, match="levels"):
        Splitting(levels)


def test_only_splitting_noise_has_splits():
    with pytest.raises(BadParameter, match="has no splits"):
        SplittingSource(Gaussian(0.25))
