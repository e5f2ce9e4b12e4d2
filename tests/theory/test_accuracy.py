import pytest

from dsmooth.errors import BadParameter
from dsmooth.theory.accuracy import population_lower_bound
from dsmooth.theory.bounds import clopper_pearson_upper


def test_the_bound_takes_false_certificates_into_account():
    plain = 1 - clopper_pearson_upper(40, 100, 0.05)
    assert population_lower_bound(60, 100, 0.001) == pytest.approx((plain - 0.001) / 0.999)
    assert population_lower_bound(60, 100, 0.2) < population_lower_bound(60, 100, 0.001) < 0.6


def test_ends():
    assert population_lower_bound(0, 100, 0.001) == 0.0
    assert 0.94 < population_lower_bound(100, 100, 0.001) < 1.0
    with pytest.raises(BadParameter, match="at least one image"):
        population_lower_bound(0, 0, 0.001)
