import time

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

import dsmooth
from dsmooth import BadImage, BadModel, BadParameter, Cohen, Mode, SmoothedClassifier
from dsmooth.images.sets import LabelledImage
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.votes import Phase
from support import Constant, Linear, Sided, Threshold, different_images


def test_a_constant_classifier_gets_the_largest_radius_that_votes_can_give():
    smoothed = SmoothedClassifier(Constant(), None, 0.25, certifier=Cohen())
    certificate = smoothed.certify(np.zeros((4, 4, 3), dtype=np.uint8), n0=10, n=1000)
    largest = 0.25 * special.ndtri(0.001 ** (1 / 1000))
    assert certificate.answer == 3
    assert largest * (1 - 2e-9) - 1e-10 <= certificate.radius <= largest
    assert certificate.estimation.counts == {3: 1000}
    assert certificate.selection.trials == 10
    assert certificate.alpha == 0.001


def test_one_image_or_a_batch_of_one_or_three_channels():
    smoothed = SmoothedClassifier(Constant(), None, 0.25)
    for shape in ((5, 6), (5, 6, 1), (5, 6, 3)):
        assert smoothed.certify(np.zeros(shape, dtype=np.uint8), n0=2, n=50).answer == 3
        assert smoothed.predict(np.zeros(shape, dtype=np.uint8), n=50).answer == 3
    batch = np.zeros((3, 5, 6, 3), dtype=np.uint8)
    assert [c.answer for c in smoothed.certify(batch, n0=2, n=50)] == [3, 3, 3]
    assert [p.answer for p in smoothed.predict(batch, n=50)] == [3, 3, 3]


def test_floats_on_the_grid_are_the_same_image():
    smoothed = SmoothedClassifier(Threshold(120), None, 0.25)
    image = different_images(1, 130)[0]
    expected = smoothed.certify(image, seed=3)
    for dtype in (np.float32, np.float64):
        assert smoothed.certify((image / 255).astype(dtype), seed=3) == expected


def test_a_seed_repeats_and_its_absence_does_not():
    smoothed = SmoothedClassifier(Threshold(120), None, 0.25)
    image = different_images(1, 125)[0]
    assert smoothed.certify(image, seed=3) == smoothed.certify(image, seed=3)
    free = [smoothed.certify(image).estimation for _ in range(6)]
    assert len({str(votes) for votes in free}) > 1


def test_modes_stop_early_and_keep_the_order_of_the_images():
    smoothed = SmoothedClassifier(Threshold(100), None, 0.25)
    values = (101, 60, 250, 130)
    batch = np.stack([different_images(1, value)[0] for value in values])
    curve = Mode("curve", radii=(0.0, 0.1, 0.4))
    certificates = smoothed.certify(batch, n=10_000, mode=curve, seed=0)
    assert [certificate.answer for certificate in certificates] == [None, 0, 1, 1]
    assert [round(certificate.radius, 6) for certificate in certificates] == [0.0, 0.1, 0.4, 0.1]
    assert sum(certificate.estimation.trials for certificate in certificates) < 20_000
    assert smoothed.certify(batch[2], n=10_000, mode=curve, seed=0) == certificates[2]
    assert not smoothed.certify(batch[2], n=10_000, mode=Mode("radius")).abstained


@pytest.mark.parametrize(
    "law", [Gaussian(0.25), Uniform(127), Splitting(127), Lighting(0.15, brightness=0.1)], ids=lambda law: law.name
)
def test_mirrored_votes_are_those_of_the_averaged_network_under_every_law(law):
    pixels = np.random.default_rng(1).integers(80, 176, (3, 5, 3)).astype(np.uint8)  # 45 numbers: no margin is 0
    streams = {Phase.ESTIMATION: b"" if isinstance(law, Splitting) else b"m" * 16}
    asked = [(Phase.ESTIMATION, i) for i in range(127)]

    def votes(model, **options):
        with SmoothedClassifier(model, None, law, dtype="fp32", backend="eager", batch=32, **options) as smoothed:
            return list(smoothed.replay(LabelledImage("x", pixels), streams, asked))

    both = votes(Sided(), mirror=True)
    assert both == votes(Linear())
    assert both != votes(Sided())
    assert len(set(both)) == 2


def test_what_is_mirrored_is_another_question():
    plain, both = SmoothedClassifier(Sided(), None, 0.25), SmoothedClassifier(Sided(), None, 0.25, mirror=True)
    assert both.question().preparation == "logits averaged over it and its mirror image" != plain.question().preparation
    assert both.question().classifier != plain.question().classifier
    grey = np.full((3, 5, 3), 128, np.uint8)
    assert both.certify(grey, n=200, seed=1).estimation != plain.certify(grey, n=200, seed=1).estimation
    with pytest.raises(BadModel, match="gives no logits that could be averaged"):
        SmoothedClassifier(lambda images: [0] * len(images), None, 0.25, mirror=True)


def test_any_callable_denoises():
    black = SmoothedClassifier(Threshold(100), lambda x, sigma: torch.zeros_like(x), 0.25)
    assert black.predict(different_images(1, 255)[0]).answer == 0
    assert SmoothedClassifier(Threshold(100), None, 0.25).predict(different_images(1, 255)[0]).answer == 1


def test_predict_abstains_where_it_cannot_know():
    class Coin(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0, 0, 0] - 100.5 / 255, 100.5 / 255 - x[:, 0, 0, 0]], dim=1)

    smoothed = SmoothedClassifier(Coin(), None, 1.0)
    assert smoothed.predict(different_images(1, 100)[0], n=100, seed=0).abstained


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 2), np.uint8)], "image 1: expected"),
        (np.zeros((3, 8, 8), np.uint8), "transpose"),
        (np.zeros((8, 8, 4), np.uint8), "1 or 3 channels"),
        (np.zeros((0, 8, 3), np.uint8), "got shape"),
        (np.zeros((8, 8, 3), np.int64), "expected uint8"),
        (np.full((8, 8, 3), np.nan), "finite"),
        (np.full((8, 8, 3), 1.5), "the classifier normalises them"),
        (np.full((8, 8, 3), 0.5), "grid of 1/255"),
        (np.zeros(8, np.uint8), "got shape"),
        ("cat.png", "got shape"),
    ],
)
def test_bad_images_are_refused(image, message):
    with pytest.raises(BadImage, match=message):
        SmoothedClassifier(Constant(), None, 0.25).certify(image, n0=1, n=1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 0},
        {"n0": 0},
        {"n": -5},
        {"alpha": 0},
        {"alpha": float("nan")},
        {"norm": 0.3},
        {"seed": -1},
        {"n": 20.0},
        {"n": True},
        {"n": "x"},
        {"n0": None},
        {"seed": 1.5},
    ],
)
def test_bad_parameters_are_refused(arguments):
    with pytest.raises(BadParameter):
        SmoothedClassifier(Constant(), None, 0.25).certify(np.zeros((4, 4, 1), np.uint8), **arguments)


def test_sigma_outside_the_training_of_the_denoiser_is_said():
    with pytest.warns(UserWarning, match=r"trained for sigma 0.08 to 0.6; 2 is outside"):
        SmoothedClassifier(Constant(), "photo", 2.0)
    assert SmoothedClassifier(Constant(), "none", 2.0).denoiser is None


@pytest.mark.parametrize("error", [KeyError("x"), AssertionError(), ZeroDivisionError(), AttributeError("y")])
def test_whatever_a_network_raises_is_one_line(error):
    class Broken(nn.Module):
        def forward(self, x):
            raise error

    with pytest.raises(BadModel, match="do not accept images of shape"):
        SmoothedClassifier(Broken(), None, 0.25).certify(np.zeros((4, 4, 1), np.uint8))
    with pytest.raises(BadModel, match="with the same shape, got NoneType"):
        SmoothedClassifier(Constant(), lambda x, sigma: None, 0.25).certify(np.zeros((4, 4, 1), np.uint8))


def test_nothing_goes_round_in_circles_when_a_run_was_broken_off():
    """The loop waits a moment for the next image of a run; it forgot that the run, and so the wait, was over."""

    def broken_off():
        yield np.zeros((4, 4, 1), np.uint8)
        time.sleep(0.02)  # less than it waits
        raise BadImage("the rest is gone")

    with SmoothedClassifier(Constant(), None, 0.25, workers=1) as smoothed:
        with pytest.raises(BadImage, match="the rest is gone"):
            list(smoothed.certify_stream(broken_off(), n0=10, n=10))
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(0.4)
        assert time.process_time() - before < 0.2


def test_bad_models_are_refused():
    broken = nn.Linear(3, 2)
    broken.weight.data[0, 0] = torch.nan
    for model in (broken, "no such spec", 5):
        with pytest.raises(BadModel):
            SmoothedClassifier(model, None, 0.25)
    with pytest.raises(BadModel, match="denoiser"):
        SmoothedClassifier(Constant(), 3, 0.25)
    with pytest.raises(BadParameter, match="dtype"):
        SmoothedClassifier(Constant(), None, 0.25, dtype="int8")
    named = dsmooth.TorchClassifier(Constant(), class_names=["cat", "dog"])
    with pytest.raises(BadModel, match="2 classes, got 10 logits"):
        SmoothedClassifier(named, None, 0.25).certify(np.zeros((4, 4, 1), np.uint8))
