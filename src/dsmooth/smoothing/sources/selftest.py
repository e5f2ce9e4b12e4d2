"""A self-test of the noise that a run actually uses: a broken generator must not make certificates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy import special

from dsmooth.errors import NoiseFailed
from dsmooth.smoothing.chunks import Chunk
from dsmooth.theory.grid import Table
from dsmooth.theory.votes import Phase

if TYPE_CHECKING:
    from dsmooth.smoothing.sources.grid import GridSource

__all__ = ["check_noise", "judge_noise", "tested_samples"]

_COORDINATES: Final = 1 << 20
_MOST_SAMPLES: Final = 1 << 14  # of a small image: enough, and its law is tested by the tests of the source
_LIMIT: Final = 7.0
"""In standard deviations: a normal variable is beyond with probability 2.6e-12. Six of them, with a factor of 2 for the
skewness of the variance's estimate at 100,000 coordinates, stay below 1e-10."""
_FARTHEST: Final = 8.5
"""The same for the largest of up to a hundred thousand correlations: each is beyond with probability 1.9e-17."""
_AT_ONCE: Final = 1 << 17  # coordinates whose spectrum is in memory at a time
_LAGS: Final = 8
"""Samples of one stream, and of the two, are compared up to so many numbers apart."""
_CHANCE: Final = 1e-10
"""Of each of the exact tests (two binomial ones and one of the distribution), both sides together."""
_FAR: Final = 40
"""Far steps are so far that about so many are expected: that none comes has a probability below 1e-17."""


def check_noise(source: GridSource, streams: Sequence[bytes], dim: int) -> dict[str, Any]:
    """What was measured on the noise of these two streams for an image of dim coordinates.

    Raises NoiseFailed where it cannot be chance. A sound generator fails fewer than one run in 1e9.
    """
    samples = tested_samples(dim)
    drawn = [source.draw(Chunk(Phase.PROBE, stream, 0, samples), dim)[0] for stream in streams]
    return judge_noise(source.law.table, *drawn)


def tested_samples(dim: int) -> int:
    """How many samples of each stream are tested, for an image of dim coordinates."""
    return min(_MOST_SAMPLES, -(-_COORDINATES // (2 * dim)))


def judge_noise(table: Table, first: npt.NDArray[np.int16], second: npt.NDArray[np.int16]) -> dict[str, Any]:
    """Two streams of noise (samples, dim), in steps of 1/255, compared with the table of their law.

    Moments, far steps, balance of signs, the whole distribution, and the largest correlation of coordinates at any
    distance up to two thirds of a sample, of samples up to eight apart, and of the two streams, shifted by up to eight
    samples. Raises NoiseFailed.
    """
    both = np.concatenate([first, second])
    flat = both.reshape(-1)
    count = flat.size
    law = _Expected(table, count)
    centred = both - law.mean
    root = math.sqrt(count)
    square = float((flat.astype(np.float64) ** 2).mean())
    scores = {
        "mean": float(centred.mean()) / math.sqrt(law.variance) * root,
        "variance": (square - law.square) / math.sqrt(law.fourth - law.square**2 or 1.0) * root,
    }
    one, other = centred[: len(first)], centred[len(first) :]
    pairs = ((one, other), (other, one))
    farthest = {
        "coordinates": _within(centred, law.variance),
        "samples": max((_lagged(part, part, lag, law.variance) for part in (one, other) for lag in _lags(1)), key=abs),
        "streams": max((_lagged(*pair, lag, law.variance) for pair in pairs for lag in _lags(0)), key=abs),
    }
    far, positive, moved = int((abs(flat) > law.far).sum()), int((flat > 0).sum()), int((flat != 0).sum())
    distance = _distance(table, flat)
    chances = {
        "far steps": _two_sided(far, count, law.far_probability),
        "signs": _two_sided(positive, moved, law.positive),
        "support": float(table.steps[0] <= flat.min() and flat.max() <= table.steps[-1]),
        "distribution": min(1.0, 2.0 * math.exp(-2.0 * count * distance**2)),
    }
    bad = [name for name, score in scores.items() if not abs(score) <= _LIMIT]
    bad += [name for name, score in farthest.items() if not abs(score) <= _FARTHEST]
    scores |= farthest
    bad += [name for name, chance in chances.items() if not chance >= _CHANCE]
    if bad:
        raise NoiseFailed(
            f"the noise failed its self-test ({', '.join(bad)}; scores {scores}, chances {chances}): "
            "the generator is broken and nothing was certified; report this"
        )
    return {
        "coordinates": count,
        "scores": {name: round(score, 3) for name, score in scores.items()},
        "far": far,
        "expected_far": round(count * law.far_probability, 3),
        "positive": positive,
        "negative": moved - positive,
        "distance": round(distance, 6),
    }


class _Expected:
    """Moments and tails of a law, by its own table."""

    def __init__(self, table: Table, count: int) -> None:
        probabilities, steps = table.probabilities, table.steps
        self.mean, self.square, self.fourth = (table.moment(power) for power in (1, 2, 4))
        self.variance = self.square - self.mean**2
        sizes = np.bincount(abs(steps), weights=probabilities)
        beyond = np.append(sizes[::-1].cumsum()[::-1][1:], 0.0)  # P(|K| > t), the smallest summands first
        self.far = int(np.flatnonzero(count * beyond >= _FAR)[-1])
        self.far_probability = float(beyond[self.far])
        self.positive = float(probabilities[steps > 0].sum() / probabilities[steps != 0].sum())


def _distance(table: Table, flat: npt.NDArray[np.int16]) -> float:
    """The largest distance between the distribution functions of the sample and of the law.

    It is e or more with probability at most 2 exp(-2 n e^2), whatever the law (Dvoretzky, Kiefer and Wolfowitz 1956,
    with the constant of Massart 1990).
    """
    steps = table.steps
    inside = np.clip(flat, steps[0], steps[-1]) - steps[0]
    seen = np.bincount(inside, minlength=len(steps)).cumsum() / flat.size
    return float(abs(seen - table.below).max())


def _correlation(a: npt.NDArray[Any], b: npt.NDArray[Any], variance: float) -> float:
    """Standard deviations by which the mean product of independent variables is off 0; 0 where there are none."""
    # without BLAS, whose threads wait for each other on busy cores
    return float(np.einsum("ij,ij->", a, b)) / (variance * math.sqrt(a.size)) if a.size else 0.0


def _lags(least: int) -> range:
    return range(least, _LAGS + 1)


def _lagged(a: npt.NDArray[Any], b: npt.NDArray[Any], lag: int, variance: float) -> float:
    """The correlation of the samples of one stream with those of another (or the same), so many numbers later."""
    return _correlation(a[: max(0, len(a) - lag)], b[lag:], variance)


def _within(noise: npt.NDArray[Any], variance: float) -> float:
    """The largest correlation of coordinates of a sample at any distance up to two thirds of it; 0 where there is none."""
    samples, dim = noise.shape
    most = 2 * dim // 3
    if not most:
        return 0.0
    spectrum = np.zeros(dim + 1)
    group = max(1, _AT_ONCE // dim)
    for start in range(0, samples, group):
        spectrum += (np.abs(np.fft.rfft(noise[start : start + group], 2 * dim, axis=1)) ** 2).sum(axis=0)
    sums = np.fft.irfft(spectrum, 2 * dim)[1 : most + 1]
    scores = sums / (variance * np.sqrt(samples * (dim - np.arange(1, most + 1))))
    return float(scores[np.argmax(np.abs(scores))])


def _two_sided(count: int, trials: int, probability: float) -> float:
    """A p-value: at most this is the probability of a count as far from the expected one, on either side."""
    if not trials:
        return 1.0
    upper = 1.0 if count == 0 else float(special.betainc(count, trials - count + 1, probability))
    lower = 1.0 if count == trials else float(special.betaincc(count + 1, trials - count, probability))
    return min(1.0, 2.0 * min(upper, lower))
