"""How many rows a batch should have, measured."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
import numpy.typing as npt

from dsmooth.smoothing.pipeline import Pipeline

__all__ = ["fastest_batch", "trial_batch"]

_ROUNDS: Final = 3
_MANY: Final = 200  # batches in a run, below which nothing is measured
_WORTH: Final = 0.02  # the part of a run that measuring may take
_BETTER: Final = 0.95  # another size must take less than this of the usual one's time: the clock is noisy


def fastest_batch(pipeline: Pipeline, shape: tuple[int, ...], usual: int, samples: int) -> int:
    """Rows of (H, W, C) a batch: the usual number, or half or twice as many where that proves faster.

    Measured on one thread, and only where `samples` take so long that measuring costs less than a fiftieth of it.
    """
    if samples < _MANY * usual:
        return usual
    started = time.perf_counter()
    best, shortest = usual, _seconds(pipeline, shape, usual)
    cost = time.perf_counter() - started
    if 2 * cost > _WORTH * samples * shortest / pipeline.backend.workers:
        return usual
    for rows in (usual // 2, usual * 2):
        try:
            seconds = _seconds(pipeline, shape, rows) if rows else shortest
        except MemoryError:
            break
        if seconds < _BETTER * shortest:
            best, shortest = rows, seconds
    return best


def trial_batch(shape: tuple[int, ...], rows: int) -> npt.NDArray[np.int16]:
    """Some pixels (rows, H, W, C) to try networks on."""
    return np.random.default_rng(0).integers(0, 256, (rows, *shape)).astype(np.int16)


def _seconds(pipeline: Pipeline, shape: tuple[int, ...], rows: int) -> float:
    """Seconds a sample; the least of a few rounds."""
    batch = trial_batch(shape, rows)
    pipeline.labels(batch)
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        pipeline.labels(batch)
        times.append((time.perf_counter() - started) / rows)
    return min(times)
