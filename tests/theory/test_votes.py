"""What may be counted: true numbers, and labels that can be written down."""

from fractions import Fraction

import numpy as np
import pytest

from dsmooth import BadParameter, Mode
from dsmooth.theory.bounds import check_count, check_level, clopper_pearson_upper
from dsmooth.theory.laws.base import check_norm
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.votes import Votes
from support import question

NO_COUNTS = [5.5, 5.0, np.float32(5), "5", True, np.True_, None, -1, Fraction(5), 10**400, 10**5000]


@pytest.mark.parametrize("wrong", NO_COUNTS, ids=lambda value: repr(type(value)))
def test_counts_are_whole_numbers(wrong):
    with pytest.raises(BadParameter, match="must be a whole number"):
        Votes({0: wrong}, 10)
    with pytest.raises(BadParameter, match="must be a whole number"):
        Votes({}, wrong)
    with pytest.raises(BadParameter, match="must be a whole number"):
        clopper_pearson_upper(wrong, 10, 0.01)
    with pytest.raises(BadParameter, match="must be a whole number"):
        check_count(wrong, "n")


def test_counts_of_numpy_are_counts():
    votes = Votes({np.int64(3): np.uint8(5)}, np.int32(10))
    assert votes == Votes({3: 5}, 10)
    assert [type(part) for part in (*votes.counts, *votes.counts.values(), votes.trials)] == [int] * 3


@pytest.mark.parametrize(
    "wrong", [True, 1.0, None, (1,), b"cat", "\ud800", 10**13, 10**5000], ids=lambda v: repr(type(v))
)
def test_labels_are_whole_numbers_or_text(wrong):
    with pytest.raises(BadParameter, match="expected a label"):
        Votes({wrong: 1}, 10)


@pytest.mark.parametrize("wrong", ["0.25", True, np.True_, None, 10**400, 10**5000, [0.25]], ids=lambda v: str(type(v)))
def test_levels_sigmas_norms_and_radii_are_numbers(wrong):
    for make in (check_level, Gaussian, check_norm, lambda value: Mode("decision", (value,))):
        with pytest.raises(BadParameter):
            make(wrong)


def test_sigma_may_be_whole():
    for one in (1, np.int64(1), np.float32(1)):
        assert Gaussian(one) == Gaussian(1.0)
        assert type(Gaussian(one).sigma) is float


FIELDS = {
    "classifier": [None, 5, b"c", "\ud800"], "denoiser": [5, True], "preparation": [None, 1], "dtype": [None, 32],
    "backend": [None], "generator": [None, 1], "bound": [None, 1], "batch_size": [5.0, "5", True, 0],
    "batch_area": [None, 5.0, True], "n": [1000.0, "1000", True], "n0": [100.0, "100", True], "alpha": ["0.001", True],
    "norm": ["2", True], "mode": ["fixed", None],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name, all_wrong in FIELDS.items() for wrong in all_wrong]
)
def test_fields_of_a_question_have_their_types(name, wrong):
    with pytest.raises(BadParameter):
        question(Gaussian(0.25), **{name: wrong})
