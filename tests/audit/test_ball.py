from fractions import Fraction

import numpy as np
import pytest

from dsmooth.audit.ball import distance_text, snap
from dsmooth.errors import BadParameter
from support import inside

INF = float("inf")


@pytest.mark.parametrize("norm", [1.0, 2.0, INF])
@pytest.mark.parametrize("radius", ["0.0039", "0.003921569", "0.004", "0.05", "0.5", "3.1"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (16, 16, 3)])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_snapped_is_inside_and_near(norm, radius, shape, turned):
    rng = np.random.default_rng(1)
    exact = Fraction(radius)
    for _ in range(5):
        pixels = rng.integers(0, 256, shape).astype(np.uint8)
        delta = rng.standard_normal(shape[::-1]).transpose(2, 1, 0) if turned else rng.standard_normal(shape)
        delta = delta * float(radius) / np.linalg.norm(delta.ravel(), norm)
        moved = snap(pixels, delta, norm, exact)
        assert inside(pixels, moved, norm, exact)
        wanted = np.clip(pixels / 255 + delta, 0.0, 1.0)
        assert np.abs(moved / 255 - wanted).max() < 1.01 / 255


def test_most_of_the_ball_is_used():
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 190, (32, 32, 3)).astype(np.uint8)
    delta = rng.standard_normal(pixels.shape)
    delta *= 0.25 / np.linalg.norm(delta)
    moved = snap(pixels, delta, 2.0, Fraction("0.25"))
    assert 0.249 < float(distance_text(pixels, moved, 2.0)) < 0.25


def test_the_edge_of_the_ball_is_outside():
    a, b = np.zeros((1, 1, 1), np.uint8), np.full((1, 1, 1), 51, np.uint8)
    for norm in (1.0, 2.0, INF):
        assert not inside(a, b, norm, Fraction(1, 5))  # 51/255 is 1/5 exactly, and the certificate says "closer than"
        assert inside(a, b, norm, Fraction(1, 5) + Fraction(1, 10**12))
        assert snap(a, np.full((1, 1, 1), 0.2), norm, Fraction(1, 5))[0, 0, 0] == 50


def test_other_norms_are_refused():
    with pytest.raises(BadParameter, match="norm 1, 2 or inf"):
        snap(np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1, 1)), 3.0, Fraction(1))
