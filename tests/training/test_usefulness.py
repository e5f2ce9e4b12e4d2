"""What is said of a trained denoiser: beside nothing and a shipped one, on the same images."""

import re

import numpy as np
import pytest
import torch

from dsmooth.denoisers.ffdnet import FFDNet
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.images.sets import LabelledImage, image_set
from dsmooth.training.judging import psnr
from dsmooth.training.recipe import Recipe
from dsmooth.training.usefulness import usefulness, yardstick

RECIPE = Recipe(sigma_range=(0.12, 0.5))


def smooth_images(count=80, side=32, channels=3):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    waves = [
        np.stack([127 + 100 * np.sin(6 * (a * x + b * y) + c) for c in range(channels)], axis=2).astype(np.uint8)
        for a, b in rng.random((count, 2))
    ]
    names = [str(i) for i in range(count)]
    return [image_set(names, [None] * count, [], lambda i: LabelledImage(names[i], waves[i]))]


class Nothing(FFDNet):
    def forward(self, x, sigma):
        return x


class Zero(FFDNet):
    def forward(self, x, sigma):
        return 0 * x


def test_the_three_figures_are_of_the_same_noise():
    told = usefulness(load_denoiser("cifar10-mse"), RECIPE, smooth_images())
    own, nothing, shipped = map(float, re.findall(r"([\d.]+) dB", told))
    assert own == shipped > nothing + 5
    clean = torch.rand(200, 3, 32, 32) * 0.8 + 0.1
    assert nothing == pytest.approx(psnr(clean + 0.31 * torch.randn_like(clean), clean), abs=1.5)
    assert told.endswith("(35 min on at most two cores): as good")


@pytest.mark.parametrize(("network", "words"), [(Nothing, "worse than nothing"), (Zero, "worse than nothing")])
def test_what_does_nothing_is_told_so(network, words):
    assert usefulness(network(3, 4), RECIPE, smooth_images()).endswith(words)


def test_a_blur_is_better_than_nothing_and_worse_than_a_trained_network():
    class Blur(FFDNet):
        def forward(self, x, sigma):
            return torch.nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)

    told = usefulness(Blur(3, 4), RECIPE, smooth_images())
    own, nothing, shipped = map(float, re.findall(r"([\d.]+) dB", told))
    assert nothing < own < shipped
    assert told.endswith("far from useful; train longer") == (shipped - own > 2.5)


def test_where_nothing_compares_nothing_is_said():
    assert yardstick(RECIPE, smooth_images(2, 8)) == ("cifar10-mse", 35)
    assert yardstick(RECIPE, smooth_images(2, 80)) == ("photo", 63)
    assert yardstick(RECIPE, smooth_images(2, 8, channels=1)) is None
    stab = Recipe(objective="stab", surrogates=("import:support:Linear",))
    assert yardstick(stab, smooth_images(2)) is None
    assert yardstick(Recipe(teacher="photo"), smooth_images(2)) is None
    assert usefulness(FFDNet(3, 4), RECIPE, smooth_images(1)) is None  # it is trained on
    assert usefulness(FFDNet(3, 4), Recipe(sigma_range=(1.1, 2.0)), smooth_images()) is None
