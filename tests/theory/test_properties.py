"""What must hold for all counts, levels and radii, whatever they are."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from dsmooth.theory.accuracy import population_lower_bound
from dsmooth.theory.bounds import round_down
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.prediction import predict_votes
from dsmooth.theory.votes import Votes

LEVELS = st.floats(1e-12, 0.5)
CERTIFIERS = st.sampled_from([Cohen(), Multiclass(), Multiclass(0.5), Cohen(randomised=True)])


@st.composite
def votes(draw, most=400):
    counts = draw(st.dictionaries(st.integers(0, 5), st.integers(1, most), max_size=5))
    return Votes(counts, max(1, sum(counts.values()) + draw(st.integers(0, 20))))


def certify(certifier, selection, estimation, alpha=0.001, sigma=1.0, dim=12, norm=2.0):
    return certifier.certify(selection, estimation, Gaussian(sigma), alpha=alpha, dim=dim, norm=norm)


@given(CERTIFIERS, votes(), votes(), LEVELS)
def test_a_certificate_never_promises_more_for_less(certifier, selection, estimation, alpha):
    first = certify(certifier, selection, estimation, alpha)
    assert (first.answer is None) == (first.radius == 0.0)
    assert certify(certifier, selection, estimation, alpha / 2).radius <= first.radius
    if first.answer is None:
        return
    rest = {label: count for label, count in estimation.counts.items() if label != first.answer}
    fewer = Votes({**rest, first.answer: estimation.of(first.answer) - 1}, estimation.trials)  # one vote lost
    assert certify(certifier, selection, fewer, alpha).radius <= first.radius
    for rival in rest:
        robbed = Votes({**fewer.counts, rival: rest[rival] + 1}, estimation.trials)
        assert certify(certifier, selection, robbed, alpha).radius <= first.radius


@given(CERTIFIERS, votes(), votes(), st.permutations(range(6)))
def test_names_of_labels_do_not_matter(certifier, selection, estimation, order):
    ranked = selection.ranked()
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        return  # a tie is broken by name, before any estimation vote
    renamed = [
        Votes({order[label]: count for label, count in v.counts.items()}, v.trials) for v in (selection, estimation)
    ]
    a, b = certify(certifier, selection, estimation), certify(certifier, *renamed)
    assert a.radius == b.radius
    assert (a.answer is None) == (b.answer is None)
    assert a.answer is None or order[a.answer] == b.answer


@given(CERTIFIERS, votes(), votes(), st.floats(0.01, 4.0), st.integers(1, 10**6))
def test_radii_scale_with_sigma_and_shrink_with_the_norm(certifier, selection, estimation, sigma, dim):
    unit, scaled = (certify(certifier, selection, estimation, sigma=s, dim=dim) for s in (1.0, sigma))
    assert abs(scaled.radius - sigma * unit.radius) <= 1e-9 * max(1.0, sigma)
    radii = [unit.radius_in(norm) for norm in (1.0, 2.0, 3.0, 10.0, float("inf"))]
    assert radii == sorted(radii, reverse=True)
    assert radii[0] == radii[1]  # no more is known below 2


@given(votes(), LEVELS)
def test_a_prediction_is_the_top_label_or_none(estimation, alpha):
    prediction = predict_votes(estimation, alpha)
    assert 0.0 <= prediction.p_value <= 1.0
    if prediction.answer is not None:
        top = estimation.of(prediction.answer)
        assert all(count < top for label, count in estimation.counts.items() if label != prediction.answer)
        assert estimation.missing < top
    assert predict_votes(estimation, alpha / 10).answer in (None, prediction.answer)


@given(st.floats(0.0, 1e6, allow_subnormal=True), st.integers(0, 12))
def test_shown_numbers_are_below_and_near(value, places):
    shown = Fraction(round_down(value, places))
    assert shown <= Fraction(value)
    assert Fraction(value) - shown < Fraction(1, 10**places) * (1 + Fraction(1, 10**6))
    assert -Decimal(round_down(value, places)).as_tuple().exponent == places or places == 0


@given(st.integers(1, 2000), st.data(), LEVELS)
def test_population_bounds_are_below_the_share(images, data, alpha):
    correct = data.draw(st.integers(0, images))
    bound = population_lower_bound(correct, images, alpha)
    assert 0.0 <= bound <= correct / images
    if correct:
        assert population_lower_bound(correct - 1, images, alpha) <= bound


@given(votes())
def test_votes_are_values(estimation):
    assert replace(estimation) == estimation
    assert sum(count for _, count in estimation.ranked()) + estimation.missing == estimation.trials
    counts = [count for _, count in estimation.ranked()]
    assert counts == sorted(counts, reverse=True)
