"""The noise at an address: Gaussian noise on the pixel grid, drawn with integers alone.

One 64-bit word of NumPy's Philox4x64-10 decides one coordinate, by the exact thresholds of theory/grid.py. The words of
sample i begin at block i * ceil(dim / 4) of the stream, so they depend on the stream's key and i and on nothing else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dsmooth.smoothing.chunks import Chunk
from dsmooth.theory.grid import WORD_BITS, grid_law
from dsmooth.theory.noises import Gaussian

__all__ = ["GENERATOR", "Sampler"]

GENERATOR = "philox4x64-10 (numpy)"

_GUIDE_BITS = 16
_WORDS_AT_ONCE = 1 << 16  # half a megabyte of words: the passes over them stay in the cache
_SPLIT = np.int16(-32768)  # marks guide cells that a threshold falls into; no noise is that large
_PER_BLOCK = 4  # words that Philox4x64 makes at once


class Sampler:
    """Draws the noise of chunks for one law; holds tables only, so threads may share it."""

    def __init__(self, noise: Gaussian) -> None:
        self.noise = noise
        law = grid_law(noise)
        self._first, self._thresholds = law.first, law.thresholds
        # the guide: the top 16 bits of a word decide it, except in cells that hold a threshold
        low = np.arange(1 << _GUIDE_BITS, dtype=np.uint64) << np.uint64(WORD_BITS - _GUIDE_BITS)
        high = low + np.uint64((1 << (WORD_BITS - _GUIDE_BITS)) - 1)
        below = np.searchsorted(law.thresholds, low, side="left")
        within = np.searchsorted(law.thresholds, high, side="right") - below
        self._guide = np.where(within == 0, below + law.first, _SPLIT).astype(np.int16)

    def draw(self, chunk: Chunk, dim: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
        """Noise (count, dim) in steps of 1/255, and which samples are undecided (trials without a vote).

        Coordinates are in the order of the image's bytes: rows, columns, channels.
        """
        blocks = -(-dim // _PER_BLOCK)
        key = np.frombuffer(chunk.stream, dtype="<u8").astype(np.uint64)
        generator = np.random.Philox(key=key, counter=[chunk.first * blocks, 0, 0, 0])
        noise = np.empty((chunk.count, dim), dtype=np.int16)
        undecided = np.zeros(chunk.count, dtype=np.bool_)
        group = max(1, _WORDS_AT_ONCE // dim)
        for start in range(0, chunk.count, group):
            rows = min(group, chunk.count - start)
            words = generator.random_raw(rows * blocks * _PER_BLOCK).reshape(rows, -1)[:, :dim]
            noise[start : start + rows], undecided[start : start + rows] = self._steps(words)
        return noise, undecided

    def _steps(self, words: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
        flat = np.ascontiguousarray(words).astype("<u8", copy=False).reshape(-1)
        steps = self._guide.take(flat.view("<u2")[3::4])
        undecided = np.zeros(len(words), dtype=np.bool_)
        split = np.flatnonzero(steps == _SPLIT)
        rest = flat[split]
        above = np.searchsorted(self._thresholds, rest, side="left")
        steps[split] = above + self._first
        on_threshold = self._thresholds[np.minimum(above, len(self._thresholds) - 1)] == rest
        undecided[split[on_threshold] // words.shape[1]] = True
        return steps.reshape(words.shape), undecided
