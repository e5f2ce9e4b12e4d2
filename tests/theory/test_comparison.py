import math
from fractions import Fraction

import numpy as np
import pytest

from dsmooth.errors import BadParameter
from dsmooth.theory.comparison import mean_difference, sign_test


@pytest.mark.parametrize("differing", [1, 2, 5, 12, 13, 40])
def test_small_p_values_are_as_rare_as_they_say(differing):
    """Exactly, by counting outcomes: the probability of a p-value of at most t is at most t."""
    weights = [Fraction(math.comb(differing, k), 2**differing) for k in range(differing + 1)]
    values = [sign_test(k, differing - k) for k in range(differing + 1)]
    for value in values:
        at_most = sum(weight for weight, other in zip(weights, values, strict=True) if other <= value)
        assert float(at_most) <= value * (1 + 1e-9)
        assert value == pytest.approx(float(at_most))  # and no larger than it has to be


def test_small_p_values_are_as_rare_as_they_say_of_runs():
    """100 images, 30 % of which differ, in either direction alike: 4,000 comparisons, exact limit at one in a million."""
    from scipy.stats import binom

    random = np.random.default_rng(0)
    found = 0
    for _ in range(4000):
        kind = random.choice(3, size=100, p=[0.7, 0.15, 0.15])
        found += sign_test(int((kind == 1).sum()), int((kind == 2).sum())) <= 0.05
    assert found <= binom.isf(1e-6, 4000, 0.05)
    assert sign_test(2, 20) < 0.001  # and one that is better is found


def test_without_differences_nothing_is_found():
    assert sign_test(0, 0) == 1.0
    assert sign_test(3, 3) == 1.0
    assert sign_test(3, 9) == sign_test(9, 3)


def test_the_standard_error_is_that_of_pairs():
    """The spread of the mean over many samples of images, against its estimate; images differ far more than runs do."""
    random = np.random.default_rng(1)
    images = random.exponential(1.0, size=(2000, 60))
    found = [mean_difference(row, row + random.normal(0.02, 0.1, 60)) for row in images]
    means = np.array([each.mean for each in found])
    assert means.mean() == pytest.approx(0.02, abs=5 * 0.1 / math.sqrt(60 * 2000))
    assert np.mean([each.standard_error for each in found]) == pytest.approx(means.std(), rel=0.08)
    assert means.std() < 0.1 * images.mean(axis=1).std()


@pytest.mark.parametrize("values", [([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])])
def test_what_is_no_pair_is_refused(values):
    with pytest.raises(BadParameter, match="two values of each image"):
        mean_difference(*values)


def test_negative_counts_are_refused():
    with pytest.raises(BadParameter, match="counts of at least 0"):
        sign_test(-1, 2)


def test_by_hand():
    assert sign_test(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert mean_difference([1.0, 2.0, 3.0], [1.0, 3.0, 5.0]).mean == 1.0
    assert mean_difference([0.0, 0.0, 0.0], [0.0, 1.0, 2.0]).standard_error == pytest.approx(1 / math.sqrt(3))


def test_a_single_image_has_no_standard_error():
    assert math.isnan(mean_difference([1.0], [2.0]).standard_error)
