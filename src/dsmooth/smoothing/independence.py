"""Is it one fixed function, row by row? Asked once for each shape of images, before the first vote."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadModel
from dsmooth.smoothing.chunks import Chunk, MasterKey, Phase
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.smoothing.sampler import Sampler
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.grid import LEVELS

__all__ = ["depends_on_chance"]

_KEPT = 4  # every fourth row is kept, the others are changed


def depends_on_chance(pipeline: Pipeline, sampler: Sampler, tally: Tally, key: MasterKey) -> bool:
    """Whether the same rows are answered differently; raises BadModel where only their company makes the difference."""
    stream, rows = key.stream(tally.digest, sampler.noise, Phase.PROBE), tally.batch
    steps, _ = sampler.draw(Chunk(Phase.PROBE, stream, 0, 2 * rows), tally.image.pixels.size)
    noisy = (steps.reshape(2, rows, *tally.image.pixels.shape) + tally.image.pixels).astype(np.int16)
    ask: Callable[[npt.NDArray[np.int16]], Any] = pipeline.labels
    same: Callable[[Any, Any], bool] = operator.eq
    if pipeline.remote is not None:  # it sees each image alone, and costs money: only the denoiser is probed
        ask, same = lambda rows: pipeline.images(rows).float().numpy(), _images_alike
    expected = ask(noisy[0])
    if not same(ask(noisy[0]), expected):
        return True
    for filler in (0, LEVELS):  # black company, then white: what looks at its neighbours will look elsewhere
        mixed = noisy[1] - tally.image.pixels + np.int16(filler)
        mixed[::_KEPT] = noisy[0, ::-1][::_KEPT]
        if not same(ask(mixed)[::_KEPT], expected[::-1][::_KEPT]):
            raise BadModel(
                "the classifier answers an image differently in other company (batch statistics?), so its votes are "
                "not independent: put all of it in eval mode, or pass batch 1"
            )
    return False


def _images_alike(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    """The same images, but for the last digits that a kernel may round differently at another place in the batch."""
    return np.allclose(one, other, rtol=0.0, atol=1.0 / LEVELS, equal_nan=True)
