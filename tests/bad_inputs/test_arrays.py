"""Arrays handed to the library: shape, type, range, and what is no array at all."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dsmooth import BadImage, BadParameter, Gaussian, SmoothedClassifier
from support import Constant, frugal

SMOOTHED = SmoothedClassifier(Constant(), None, 0.25, dtype="fp32", batch=4, workers=1)
GOOD = np.zeros((8, 8, 3), np.uint8)


class NoArray:
    def __array__(self, *args, **kwargs):
        raise RuntimeError("I lied\nin two lines")


ROWS = {
    "none": (None, "height, width"),
    "text": ("cat.png", "expected"),
    "a number": (5, "height, width"),
    "empty": ([], "height, width"),
    "ragged": ([[1], [1, 2]], "expected an array"),
    "objects": (np.array([[object()]]), "uint8"),
    "what refuses to be an array": (NoArray(), "I lied"),
    "one axis": (GOOD[0, 0], "height, width"),
    "five axes": (GOOD[None, None], "height, width"),
    "no rows": (GOOD[:0], "height, width"),
    "no images": (GOOD[None][:0], None),
    "two channels": (GOOD[..., :2], "1 or 3 channels"),
    "four channels": (np.zeros((8, 8, 4), np.uint8), "1 or 3 channels"),
    "channels first": (GOOD.transpose(2, 0, 1), "transpose"),
    "int64": (GOOD.astype(np.int64), "int64"),
    "int16": (GOOD.astype(np.int16), "int16"),
    "bool": (GOOD.astype(bool), "bool"),
    "complex": (GOOD.astype(complex), "complex"),
    "dates": (np.zeros((4, 4), "datetime64[s]"), "datetime64"),
    "records": (np.zeros((4, 4), [("a", "u1")]), "got"),
    "NaN": (np.full((8, 8, 3), np.nan), "finite"),
    "infinity": (np.full((8, 8, 3), np.inf), "finite"),
    "one NaN": (np.where(np.arange(192).reshape(8, 8, 3) == 100, np.nan, 0.0), "finite"),
    "bytes as floats": (np.full((8, 8, 3), 128.0), "the classifier normalises them"),
    "normalised": (np.full((8, 8, 3), -2.1), "[-2.1, -2.1]"),
    "a little below": (np.full((8, 8, 3), -1e-9), "in [0, 1]"),
    "a little above": (np.full((8, 8, 3), 1 + 1e-9), "in [0, 1]"),
    "off the grid": (np.full((8, 8, 3), 0.5), "grid of 1/255"),
    "a little off the grid": (np.full((8, 8, 3), 128 / 255 + 1e-7), "grid of 1/255"),
    "on a grid of 1/256": (np.full((8, 8, 3), 128 / 256), "grid of 1/255"),
    "a tensor in bfloat16": (torch.full((3, 8, 8), 0.3, dtype=torch.bfloat16), "grid of 1/255"),
    "a tensor of either order": (torch.zeros(3, 8, 3), "which is either"),
    "a tensor of one axis": (torch.zeros(8), "height, width"),
    "a tensor of five axes": (torch.zeros(1, 1, 3, 8, 8), "height, width"),
    "a normalised tensor": (torch.full((3, 8, 8), -2.1), "the classifier normalises them"),
    "16 bits": (Image.new("I;16", (8, 8)), "8 bits per channel"),
    "a picture in floats": (Image.new("F", (8, 8)), "8 bits per channel"),
    "a path": (Path("cat.png"), "expected"),
}


@pytest.mark.parametrize(("image", "says"), ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("method", ["certify", "predict"])
def test_arrays(method, image, says):
    ask = getattr(SMOOTHED, method)
    with frugal():
        if says is None:
            assert ask(image, n=20) == []
            return
        with pytest.raises(BadImage) as caught:
            ask(image, n=20)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


NUMBERS = {
    "n 0": {"n": 0},
    "n true": {"n": True},
    "n text": {"n": "20"},
    "n float": {"n": 20.0},
    "n none": {"n": None},
    "n huge": {"n": 10**10},
    "alpha 0": {"alpha": 0},
    "alpha nan": {"alpha": float("nan")},
    "alpha text": {"alpha": "x"},
    "alpha none": {"alpha": None},
    "alpha list": {"alpha": [0.1]},
    "seed -1": {"seed": -1},
    "seed 0.5": {"seed": 0.5},
    "seed huge": {"seed": 2**63},
}


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS.keys())
@pytest.mark.parametrize("method", ["certify", "predict"])
def test_numbers(method, numbers):
    with frugal(), pytest.raises(BadParameter, match=next(iter(numbers))):
        getattr(SMOOTHED, method)(GOOD, **numbers)


@pytest.mark.parametrize("sigma", [0, -1, float("nan"), float("inf"), "x", [0.25], 9])
def test_sigma(sigma):
    with pytest.raises(BadParameter, match="sigma must be between"):
        SmoothedClassifier(Constant(), None, sigma)


def test_noise_is_given_once():
    for sigma, law in ((None, None), (0.25, Gaussian(0.25))):
        with pytest.raises(BadParameter, match="pass the noise once"):
            SmoothedClassifier(Constant(), None, sigma, law=law)


@pytest.mark.parametrize("norm", [0, 0.5, -1, float("nan"), "l2", [2]])
def test_norm(norm):
    with pytest.raises(BadParameter, match="norm must be a number from 1 to inf"):
        SMOOTHED.certify(GOOD, norm=norm)


@pytest.mark.parametrize(
    "options", [{"batch": 0}, {"batch": 1.0}, {"batch": 10**9}, {"workers": 0}, {"workers": 10**9}, {"dtype": "fp64"}]
)
def test_options(options):
    with pytest.raises(BadParameter, match=next(iter(options))):
        SmoothedClassifier(Constant(), None, 0.25, **options)
