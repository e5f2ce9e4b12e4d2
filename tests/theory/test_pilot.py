import numpy as np
import pytest
from scipy import special, stats

from dsmooth.theory.pilot import PilotSizes, Sizes
from dsmooth.theory.stopping import looks
from dsmooth.theory.votes import Votes

N, ALPHA = 10_000, 0.001


def size(k0, *, price=1e-5, n=N, n0=100):
    return PilotSizes(n, ALPHA, price).size(Votes({1: k0, 0: min(k0 - 1, n0 - k0)}, n0))


def expected(k0, n, *, n0=100):
    """The expected radius in sigmas of n votes, by summing over the beta-binomial law."""
    hits = np.arange(n + 1)
    chances = stats.betabinom.pmf(hits, n, k0 + 0.5, n0 - k0 + 0.5)
    tails = np.where(
        hits == n, -np.expm1(np.log(ALPHA) / n), special.betainccinv(n - hits + 1.0, np.maximum(hits, 1), ALPHA)
    )
    radii = np.where(hits == 0, 0.0, np.maximum(-special.ndtri(np.minimum(tails, 1.0)), 0.0))
    return float((chances * radii).sum())


@pytest.mark.parametrize("k0", [55, 70, 90, 99, 100])
def test_no_other_number_of_votes_is_worth_more(k0):
    price = 1e-5
    worth = {n: expected(k0, n) - price * n for n in looks(N)[1::6]}
    chosen = size(k0)
    ours = expected(k0, chosen) - price * chosen if chosen else 0.0
    assert ours >= max(worth.values()) - 0.004  # in sigmas; the sizes use an approximate law of the votes


def test_hopeless_images_get_none_and_free_votes_are_all_taken():
    assert size(30) == 0
    assert size(52, price=1e-4) == 0
    assert all(size(k0, price=0.0) == N for k0 in (70, 90, 100))
    assert PilotSizes(N, ALPHA, 1e-5).size(Votes({}, 100)) == 0
    assert isinstance(PilotSizes(N, ALPHA, 1e-5), Sizes)


def test_dearer_votes_are_fewer():
    for k0 in (60, 80, 95, 100):
        sizes = [size(k0, price=price) for price in (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)]
        assert sizes == sorted(sizes, reverse=True)
