"""The number of votes chosen from the selection votes: few where more would hardly raise the bound.

The number follows from the n0 selection votes alone. Given those it is a constant, the n votes are independent of it, and
any bound for a fixed number holds at its full alpha (docs/theory.md, claim 13).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol, runtime_checkable

import numpy as np

from dsmooth.theory.predictive import predicted_share
from dsmooth.theory.stopping import looks
from dsmooth.theory.votes import Votes, selected

__all__ = ["PilotSizes", "Sizes"]

_NODES: Final = (np.arange(128) + 0.5) / 128  # quantiles at which the predicted share of misses is evaluated


@runtime_checkable
class Sizes(Protocol):
    """Decides from the selection votes how many estimation votes there will be; 0: abstain, ask nothing."""

    @property
    def most(self) -> int: ...

    def size(self, selection: Votes) -> int: ...


@dataclass(frozen=True, slots=True)
class PilotSizes:
    """The n <= most that maximises the expected radius in sigmas, by Cohen's bound at level alpha, less price * n."""

    most: int
    alpha: float
    price: float

    def size(self, selection: Votes) -> int:
        """The number of estimation votes after these selection votes."""
        label = selected(selection)
        misses = selection.trials - (0 if label is None else selection.of(label))
        return 0 if label is None else _size(misses, selection.trials, self.most, self.alpha, self.price)


@lru_cache(maxsize=4096)
def _size(misses: int, n0: int, most: int, alpha: float, price: float) -> int:
    from scipy import special

    n = np.array(looks(most)[1:], dtype=np.float64)[:, None]
    a, b = predicted_share(misses, n0, np.maximum(n, 2.0))
    lost = n * special.betaincinv(a, b, _NODES)
    # the inverse is no bound (decision 0004), but nothing is certified here
    tail = special.betainccinv(lost + 1.0, np.maximum(n - lost, 1e-9), alpha)
    radius = np.maximum(-special.ndtri(tail), 0.0).mean(axis=1)
    worth = radius - price * n[:, 0]
    best = int(np.argmax(worth))
    return int(n[best, 0]) if worth[best] > 0.0 else 0
