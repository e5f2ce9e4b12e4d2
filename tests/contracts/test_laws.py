"""What every law must keep: those that ship, and kinds that a test brings."""

import math

import pytest

from contracts.kinds import Brightness
from dsmooth.errors import BadParameter
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.laws.base import GridLaw, RandomLaw
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.known import LAWS, introduce, law_from_json
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform

EXAMPLES = {
    "gaussian": [Gaussian(0.12), Gaussian(1.0)],
    "uniform": [Uniform(3), Uniform(127)],
    "lighting": [Lighting(0.25, brightness=0.1), Lighting(0.1, colour=0.05, ramp=0.2)],
    "splitting": [Splitting(21), Splitting(127), Splitting(510)],
    "of a test": [Brightness(0.25, 0.1)],
}


def test_every_law_that_ships_is_held_to_its_contract():
    assert set(EXAMPLES) == {*LAWS, "of a test"}


@pytest.mark.parametrize("law", [law for laws in EXAMPLES.values() for law in laws], ids=str)
class TestLaw:
    def test_no_margin_no_radius(self, law):
        for tail, rival in ((0.5, 0.5), (0.9, 0.2), (1.0, 1.0), (math.nan, 0.1)):
            assert law.radius(tail=tail, rival=rival, dim=10) == 0.0

    def test_the_radius_falls_in_both_tails_and_in_the_norm(self, law):
        radii = [law.radius(tail=tail, rival=0.1, dim=10) for tail in (1e-9, 1e-3, 0.1, 0.3)]
        assert radii == sorted(radii, reverse=True)
        assert radii[0] > radii[-1] >= 0
        assert [law.radius(tail=0.1, rival=rival, dim=10) for rival in (1e-9, 0.1, 0.3)] == sorted(
            (law.radius(tail=0.1, rival=rival, dim=10) for rival in (1e-9, 0.1, 0.3)), reverse=True
        )
        norms = [law.radius(tail=0.01, rival=0.01, norm=norm, dim=10) for norm in (1, 2, 4, math.inf)]
        assert norms == sorted(norms, reverse=True)

    def test_norms_are_compared_as_they_should_be(self, law):
        own = law.radius(tail=0.01, rival=0.01, dim=100)
        assert law.radius(tail=0.01, rival=0.01, norm=law.norm, dim=100) == own
        assert law.radius(tail=0.01, rival=0.01, norm=1.0, dim=100) == own  # the l1 ball lies in every other
        in_max = law.radius(tail=0.01, rival=0.01, norm=math.inf, dim=100)
        assert in_max == pytest.approx(own * 100 ** (-1 / law.norm), rel=1e-8)

    def test_it_says_all_of_itself(self, law):
        introduce(law)
        assert law_from_json(law.to_json()) == law
        assert len({law, law_from_json(law.to_json())}) == 1
        assert law.to_json()["name"] == law.name
        assert 0 < law.level < 8

    def test_other_parameters_are_refused(self, law):
        introduce(law)
        with pytest.raises(BadParameter, match="takes"):
            law_from_json({**law.to_json(), "more": 1})


def test_a_stand_in_without_a_table_cannot_be_run():
    class StandIn(RandomLaw):
        name, norm, source, level = "uniform of nobody", 1.0, "grid", 0.25

        def _radius(self, *, tail, rival):
            return 0.5 - tail

        def _tail(self, radius):
            return 0.5 - radius

    with pytest.raises(BadParameter, match="has no table to be drawn from"):
        source_of(StandIn())

    class Empty(GridLaw):
        name, norm = "without a table", 2.0

        def _radius(self, *, tail, rival):
            return 0.5 - tail

        def _tail(self, radius):
            return 0.5 - radius

    with pytest.raises(TypeError, match=r"abstract method '?_table"):
        Empty()

    class Wrong(Empty):
        def _table(self):
            return "a table"

    with pytest.raises(BadParameter, match="must provide a Table"):
        source_of(Wrong())


def test_what_is_common_to_all_laws_cannot_be_overridden():
    for name in ("radius", "tail", "to_json", "norm_or_own"):
        assert getattr(getattr(RandomLaw, name), "__final__", False), name
