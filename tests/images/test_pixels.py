import numpy as np
import pytest

from dsmooth.errors import BadImage
from dsmooth.images.pixels import check_pixels


def test_every_byte_survives_every_float():
    grid = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    for dtype in (np.float16, np.float32, np.float64):
        assert np.array_equal(check_pixels((grid / 255).astype(dtype)), grid)
    with pytest.raises(BadImage, match="between its steps"):
        check_pixels((grid / 255 * 0.999).astype(np.float32))


def test_half_precision_is_no_excuse_for_other_pixels():
    grid = np.arange(1, 255, dtype=np.float64).reshape(2, 127, 1)
    for shift in (-0.2, 0.2):
        with pytest.raises(BadImage, match="between its steps"):
            check_pixels(((grid + shift) / 255).astype(np.float16))
    for dtype in (np.float16, np.float32):
        assert np.array_equal(check_pixels(grid.astype(dtype) * dtype(1 / 255)), grid)


def test_an_array_that_fails_without_a_word_is_refused_with_one():
    class Silent:
        def __array__(self, dtype=None, copy=None):
            raise ValueError

    with pytest.raises(BadImage, match="expected an array of pixels, got Silent: ValueError"):
        check_pixels(Silent())
