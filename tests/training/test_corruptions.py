"""The noise of training looks to a network like the noise of certification."""

import numpy as np
import pytest
import torch
from scipy import stats

from dsmooth.errors import BadParameter
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.mismatches import mismatches
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.votes import Phase
from dsmooth.training.corruptions import CORRUPTIONS, corruption
from dsmooth.training.recipe import Recipe
from support import CHANCE

SHAPE = (24, 24, 3)
LAWS = [Gaussian(0.3), Uniform(127), Splitting(127), Splitting(765)]


def drawn(corrupt, sigma, value, count, seed=0):
    clean = torch.full((count, 3, *SHAPE[:2]), value / 255)
    level = torch.full((count, 1, 1, 1), sigma)
    return corrupt(clean, level, torch.Generator().manual_seed(seed)).numpy()


def certified(law, value, count):
    """The rows that certification shows of an image of one value: all outcomes, or the first samples of a stream."""
    image = np.full(SHAPE, value, np.uint8)
    rows = source_of(law).noisy([(image, Chunk(Phase.ESTIMATION, b"0123456789abcdef", 0, count))], count)
    return rows.steps / rows.levels


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("value", [0, 40, 200])
def test_pixels_have_the_law_of_the_certificate(law, value):
    count = law.samples if isinstance(law, Splitting) else 40
    expected = certified(law, value, count).reshape(-1)
    found = drawn(CORRUPTIONS[law.name], law.level, value, 40).reshape(-1)
    # steps of 1/255 beside floats: the distance between distributions is at most what rounding to a step moves, and chance
    distance = stats.ks_2samp(np.round(found * 255), np.round(expected * 255)).statistic
    assert distance < np.sqrt(-np.log(CHANCE / 2) * (1 / len(found) + 1 / len(expected)) / 2) + 0.01


def test_light_moves_the_whole_image():
    recipe = Recipe(sigma_range=(0.002, 0.002), brightness=0.1)
    found = drawn(corruption(recipe), 0.002, 100, 4000)
    moved = found.mean(axis=(1, 2, 3)) - 100 / 255
    assert found.std(axis=(1, 2, 3)).max() < 0.003
    assert abs(moved.std() / 0.1 - 1.0) < 0.07  # six standard errors
    tinted = drawn(corruption(Recipe(colour=0.1)), 0.002, 100, 200).mean(axis=(2, 3))
    assert np.abs(np.corrcoef(tinted.T) - np.eye(3)).max() < 0.45
    lit = drawn(corruption(Recipe(ramp=0.1)), 0.002, 100, 200)
    edges = np.stack([lit[:, :, :, 0].mean(axis=(1, 2)), lit[:, :, :, -1].mean(axis=(1, 2))]) - 100 / 255
    assert np.corrcoef(edges)[0, 1] < -0.99


@pytest.mark.parametrize(
    "terms", [{"brightness": -0.1}, {"colour": float("nan")}, {"noise": "uniform", "ramp": 0.1}], ids=str
)
def test_impossible_light(terms):
    with pytest.raises(BadParameter):
        Recipe(**terms)


@pytest.mark.parametrize(
    ("law", "noise", "warned"),
    [
        (Gaussian(0.25), "gaussian", False),
        (Lighting(0.25, brightness=0.1), "gaussian", False),
        (Splitting(221), "gaussian", True),
        (Splitting(221), "splitting", False),
        (Gaussian(0.25), "uniform", True),
        (Splitting(221), None, False),
    ],
)
def test_a_denoiser_for_other_noise_is_said(law, noise, warned):
    class Made:
        sigma_range = (0.1, 0.6)
        metrics = {} if noise is None else {"recipe": {"noise": noise}}

    class Any:
        input_size = None
        name = "any"

    told = list(mismatches(Any(), Made(), law))
    assert [f"trained for {noise} noise" in line for line in told] == [True] * warned
