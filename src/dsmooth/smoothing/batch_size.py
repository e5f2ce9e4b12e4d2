"""How many rows a batch has: chosen, measured, and halved where memory runs out."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from dsmooth.errors import BadModel
from dsmooth.smoothing.chunks import LIMITS
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.smoothing.sources.base import Rows
from dsmooth.theory.bounds import check_count

__all__ = ["BatchSizes", "fastest_batch", "measured", "trial_batch"]

_ROUNDS: Final = 3
_MANY: Final = 200  # batches in a run, below which nothing is measured
_WORTH: Final = 0.02  # the part of a run that measuring may take
_BETTER: Final = 0.95  # another size must take less than this of the usual one's time: the clock is noisy


class BatchSizes:
    """Rows of the batches of each shape of images (H, W, C).

    `size` rows where it is given; otherwise as many as fill `area` pixels (height x width x rows), at most `most`.
    """

    def __init__(self, *, size: int | None, area: int, most: int) -> None:
        self.size = size if size is None else check_count(size, "batch", most=LIMITS["batch"])
        self.area, self.most = area, most
        self._halved: dict[tuple[int, ...], int] = {}

    def rows(self, shape: tuple[int, ...]) -> int:
        """Rows of a batch of images of this shape, from now on."""
        usual = self.size or min(self.most, max(1, self.area // (shape[0] * shape[1])))
        return self._halved.get(shape, usual)

    def halve(self, shape: tuple[int, ...], rows: int) -> int:
        """Memory did not suffice for so many rows: from now on at most half as many; raises BadModel below one."""
        if rows == 1:
            raise BadModel("not enough memory for a single image: use smaller networks")
        self._halved[shape] = min(self.rows(shape), rows // 2)
        return self._halved[shape]


def fastest_batch(pipeline: Pipeline, shape: tuple[int, ...], usual: int, samples: int) -> int:
    """Rows of (H, W, C) a batch: the usual number, or half or twice as many where that proves faster.

    Measured on one thread, and only where `samples` take so long that measuring costs less than a fiftieth of it.
    """
    if samples < _MANY * usual:
        return usual
    started = time.perf_counter()
    best, shortest = usual, measured(pipeline, shape, usual)
    cost = time.perf_counter() - started
    if 2 * cost > _WORTH * samples * shortest / pipeline.backend.workers:
        return usual
    for rows in (usual // 2, usual * 2):
        try:
            seconds = measured(pipeline, shape, rows) if rows else shortest
        except MemoryError:
            break
        if seconds < _BETTER * shortest:
            best, shortest = rows, seconds
    return best


def trial_batch(shape: tuple[int, ...], rows: int) -> Rows:
    """Some pixels (rows, H, W, C) to try networks on."""
    return Rows(np.random.default_rng(0).integers(0, 256, (rows, *shape)).astype(np.int16))


def measured(pipeline: Pipeline, shape: tuple[int, ...], rows: int) -> float:
    """Seconds that one worker takes for a sample, in batches of so many rows; the least of a few rounds."""
    batch = trial_batch(shape, rows)
    pipeline.labels(batch)
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        pipeline.labels(batch)
        times.append((time.perf_counter() - started) / rows)
    return min(times)
