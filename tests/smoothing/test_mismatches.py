"""What fits in shape and hardly in sense is said; what fits is not."""

import warnings

import pytest

from dsmooth import SmoothedClassifier, TorchClassifier
from dsmooth.denoisers.names import SHIPPED, TRAINED_SIDE
from dsmooth.smoothing.mismatches import strange_labels
from support import Constant


def taking(side):
    return TorchClassifier(Constant(), name=f"takes{side}", input_size=side)


def test_every_shipped_denoiser_says_what_it_was_trained_on():
    assert TRAINED_SIDE.keys() == SHIPPED.keys()


@pytest.mark.parametrize(
    ("denoiser", "side", "says"),
    [
        (
            "photo",
            32,
            "photo was trained on images of 64 pixels a side and more, and takes32 takes 32: use cifar10-mse or",
        ),
        (
            "cifar10-mse",
            224,
            "cifar10-mse was trained on images of 32 pixels a side, and takes224 takes 224: use photo or",
        ),
        ("cifar10-mse", 48, "takes48 takes 48$"),
    ],
)
def test_denoisers_for_other_sizes(denoiser, side, says):
    with pytest.warns(UserWarning, match=says):
        SmoothedClassifier(taking(side), denoiser, 0.25)


@pytest.mark.parametrize(("denoiser", "side"), [("photo", 224), ("photo", None), ("cifar10-mse", 32), (None, 32)])
def test_what_fits_is_not_spoken_of(denoiser, side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SmoothedClassifier(taking(side), denoiser, 0.25)


def test_a_mean_for_bytes():
    with pytest.warns(UserWarning, match=r"a mean of 123\.7 is for pixels of 0 to 255"):
        TorchClassifier(Constant(), mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4])


def test_labels_of_other_classes():
    thousand = [str(i) for i in range(1000)]
    ten = [i % 10 for i in range(50)]
    assert "labels go from 0 to 9, but the classifier has 1,000 classes" in strange_labels(ten, thousand)
    for labels, names in (
        (ten, thousand[:10]),
        (ten, None),
        (ten[:5], thousand),
        ([*ten, 900], thousand),
        ([None], thousand),
    ):
        assert strange_labels(labels, names) is None
