import mpmath
import numpy as np
import pytest

from dsmooth.theory.laws.gaussian import Gaussian


@pytest.mark.parametrize("sigma", [0.002, 0.12, 0.25, 0.5, 1.0])
def test_every_threshold_is_right_in_every_bit(sigma):
    law = Gaussian(sigma).table
    rng = np.random.default_rng(0)
    chosen = {
        0,
        1,
        len(law.thresholds) // 2,
        len(law.thresholds) - 1,
        *rng.integers(0, len(law.thresholds), 60).tolist(),
    }
    with mpmath.workdps(70):
        for j in chosen:
            # by quadrature-free series of another function than the code uses, at almost twice its digits
            exact = mpmath.ncdf((law.first + j + mpmath.mpf(1) / 2) / (255 * mpmath.mpf(sigma))) * mpmath.mpf(2) ** 64
            assert int(law.thresholds[j]) == int(mpmath.floor(exact)), (sigma, j)


def test_the_law_is_symmetric_and_complete():
    law = Gaussian(0.25).table
    whole = 1 << 64
    down = [int(t) for t in law.thresholds]
    assert down == sorted(down)
    for low, high in zip(down, reversed(down), strict=True):
        assert whole - 1 <= low + high + 1 <= whole  # floors of p and 1 - p
    assert down[0] == 0
    assert down[-1] == whole - 1


def test_the_table_cannot_be_changed_by_a_user():
    with pytest.raises(ValueError, match="read-only"):
        Gaussian(0.5).table.thresholds[0] = 1
