"""A self-test of the noise that a run really uses: a broken generator must not pass for a proof."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import special

from dsmooth.errors import NoiseFailed
from dsmooth.smoothing.chunks import Chunk, MasterKey, Phase
from dsmooth.smoothing.sampler import Sampler
from dsmooth.theory.grid import WORD_BITS, grid_law
from dsmooth.theory.noises import Gaussian

__all__ = ["check_noise", "judge_noise"]

_COORDINATES: Final = 1 << 20
_MOST_SAMPLES: Final = 1 << 14  # of a small image: enough, and its law is tested by the tests of the sampler
_LIMIT: Final = 7.0
"""In standard deviations: a normal variable is beyond with probability 2.6e-12. Six of them, with a factor of 2 for the
skewness of the variance's estimate at 100,000 coordinates, stay below 1e-10."""
_CHANCE: Final = 1e-10
"""Of each exact binomial test (there are two of them), both sides together."""
_FAR: Final = 4.0  # sigmas


def check_noise(noise: Gaussian, key: MasterKey, image: str, dim: int) -> dict[str, Any]:
    """What was measured on the run's own noise for this image; raises NoiseFailed where it cannot be chance.

    A sound generator fails fewer than one run in 1e9.
    """
    sampler = Sampler(noise)
    samples = min(_MOST_SAMPLES, -(-_COORDINATES // (2 * dim)))
    drawn = []
    for phase in (Phase.SELECTION, Phase.ESTIMATION):
        chunk = Chunk(phase, key.stream(image, noise, phase), 0, samples)
        drawn.append(sampler.draw(chunk, dim)[0])
    return judge_noise(noise, *drawn)


def judge_noise(noise: Gaussian, selection: npt.NDArray[np.int16], estimation: npt.NDArray[np.int16]) -> dict[str, Any]:
    """Moments, far tails, balance of signs and correlations of two streams (samples, dim) of steps of 1/255.

    Correlations are between neighbouring coordinates, successive samples, and the two streams. Raises NoiseFailed.
    """
    law = _Law(noise)
    both = np.concatenate([selection, estimation]).astype(np.float64)
    flat = both.reshape(-1)
    count = flat.size
    root = math.sqrt(count)
    scores = {
        "mean": float(flat.mean()) / math.sqrt(law.variance) * root,
        "variance": (float((flat**2).mean()) - law.variance) / math.sqrt(law.fourth - law.variance**2) * root,
        "neighbours": _correlation(both[:, :-1], both[:, 1:], law.variance),
        "samples": _correlation(both[:-1], both[1:], law.variance),
        "streams": _correlation(both[: len(selection)], both[len(selection) :], law.variance),
    }
    far, positive, moved = int((abs(flat) > law.far).sum()), int((flat > 0).sum()), int((flat != 0).sum())
    chances = {
        "tails": _two_sided(far, count, law.far_probability),
        "signs": _two_sided(positive, moved, 0.5),
    }
    bad = [name for name, score in scores.items() if not abs(score) <= _LIMIT]
    bad += [name for name, chance in chances.items() if not chance >= _CHANCE]
    if bad:
        raise NoiseFailed(
            f"the noise failed its self-test ({', '.join(bad)}; scores {scores}, chances {chances}): "
            "the generator is broken and nothing was certified; report this"
        )
    return {
        "coordinates": count,
        "scores": {name: round(score, 3) for name, score in scores.items()},
        "beyond_4_sigma": far,
        "expected_beyond_4_sigma": round(count * law.far_probability, 3),
        "positive": positive,
        "negative": moved - positive,
    }


class _Law:
    """Moments and tails of the exact law, from its thresholds."""

    def __init__(self, noise: Gaussian) -> None:
        law = grid_law(noise)
        below = np.concatenate([[0.0], law.thresholds.astype(np.float64) / 2.0**WORD_BITS, [1.0]])
        probabilities = np.diff(below)
        steps = np.arange(law.first, law.first + len(probabilities), dtype=np.float64)
        self.variance = float((probabilities * steps**2).sum())
        self.fourth = float((probabilities * steps**4).sum())
        self.far = _FAR * noise.sigma * 255
        outside = abs(steps) > self.far
        # the lower tail twice: near 1 a float64 has lost the digits of the upper one
        self.far_probability = 2.0 * float(probabilities[outside & (steps < 0)].sum())


def _correlation(a: npt.NDArray[Any], b: npt.NDArray[Any], variance: float) -> float:
    """Standard deviations by which the mean product of independent variables is off 0; 0 where there are none."""
    return float(np.vdot(a, b)) / (variance * math.sqrt(a.size)) if a.size else 0.0


def _two_sided(count: int, trials: int, probability: float) -> float:
    """A p-value: at most this is the probability of a count as far from the expected one, on either side."""
    if not trials:
        return 1.0
    upper = 1.0 if count == 0 else float(special.betainc(count, trials - count + 1, probability))
    lower = 1.0 if count == trials else float(special.betaincc(count + 1, trials - count, probability))
    return min(1.0, 2.0 * min(upper, lower))
