"""The noise at an address: noise of any law on the pixel grid, drawn with integers alone.

One 64-bit word of NumPy's Philox4x64-10 decides one coordinate, by the exact table of the law (theory/grid.py). The words of
sample i begin at block i * ceil(dim / 4) of the stream, so they depend on the stream's key and i and on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.base import Asked, Rows, Source
from dsmooth.smoothing.sources.selftest import check_noise
from dsmooth.theory.grid import WORD_BITS
from dsmooth.theory.laws.base import GridLaw, Law

__all__ = ["WORDS_A_BLOCK", "GridSource", "random_words"]

_GUIDE_BITS = 16
_WORDS_AT_ONCE = 1 << 16  # half a megabyte of words: the passes over them stay in the cache
_SPLIT = np.int16(-32768)  # marks guide cells that a threshold falls into; no step is that large: Table sees to it
WORDS_A_BLOCK = 4  # words that Philox4x64 makes at once


def random_words(chunk: Chunk, count: int) -> Iterator[npt.NDArray[np.uint64]]:
    """The first `count` words of each sample of a chunk, in groups (samples, count) that stay in the cache.

    The words of sample i begin at block i * ceil(count / 4) of the stream: a source that needs more words than an image has
    coordinates asks for all of them at once, or samples would share them.
    """
    blocks = -(-count // WORDS_A_BLOCK)
    key = np.frombuffer(chunk.stream, dtype="<u8").astype(np.uint64)
    generator = np.random.Philox(key=key, counter=[chunk.first * blocks, 0, 0, 0])
    group = max(1, _WORDS_AT_ONCE // count)
    for start in range(0, chunk.count, group):
        rows = min(group, chunk.count - start)
        yield generator.random_raw(rows * blocks * WORDS_A_BLOCK).reshape(rows, -1)[:, :count]


class GridSource(Source):
    """Draws the noise of a law on the pixel grid."""

    def __init__(self, law: Law) -> None:
        if not isinstance(law, GridLaw):
            raise BadParameter(f"noise {law.name} has no table to be drawn from: expected a GridLaw")
        self.law, self.table = law, law.table
        self.first, self.thresholds = self.table.first, self.table.thresholds
        # the guide: the top 16 bits of a word decide it, except in cells that hold a threshold
        low = np.arange(1 << _GUIDE_BITS, dtype=np.uint64) << np.uint64(WORD_BITS - _GUIDE_BITS)
        high = low + np.uint64((1 << (WORD_BITS - _GUIDE_BITS)) - 1)
        below = np.searchsorted(self.thresholds, low, side="left")
        within = np.searchsorted(self.thresholds, high, side="right") - below
        self.guide = np.where(within == 0, below + self.first, _SPLIT).astype(np.int16)

    def draw(self, chunk: Chunk, dim: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
        """Noise (count, dim) in steps of 1/255, and which samples are undecided (trials without a vote).

        Coordinates are in the order of the image's bytes: rows, columns, channels.
        """
        noise = np.empty((chunk.count, dim), dtype=np.int16)
        undecided = np.zeros(chunk.count, dtype=np.bool_)
        start = 0
        for words in random_words(chunk, dim):
            noise[start : start + len(words)], undecided[start : start + len(words)] = self.steps(words)
            start += len(words)
        return noise, undecided

    def _noisy(self, asked: Asked, rows: int) -> Rows:
        shape = asked[0][0].shape
        batch, undecided = np.empty((rows, *shape), dtype=np.int16), np.zeros(rows, dtype=np.bool_)
        row = 0
        for pixels, chunk in asked:
            steps, lost = self.draw(chunk, pixels.size)
            np.add(steps.reshape(-1, *shape), pixels, out=batch[row : row + chunk.count], casting="unsafe")
            undecided[row : row + chunk.count] = lost
            row += chunk.count
        batch[row:] = batch[0]
        return Rows(batch, undecided)

    def self_test(self, streams: Sequence[bytes], shape: tuple[int, ...]) -> dict[str, Any]:
        return check_noise(self, streams, math.prod(shape))

    def steps(self, words: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
        """The steps that these words (samples, n) decide, and the samples in which one word decides nothing."""
        flat = np.ascontiguousarray(words).astype("<u8", copy=False).reshape(-1)
        steps = self.guide.take(flat.view("<u2")[3::4])
        undecided = np.zeros(len(words), dtype=np.bool_)
        split = np.flatnonzero(steps == _SPLIT)
        rest = flat[split]
        above = np.searchsorted(self.thresholds, rest, side="left")
        steps[split] = above + self.first
        on_threshold = self.thresholds[np.minimum(above, len(self.thresholds) - 1)] == rest
        undecided[split[on_threshold] // words.shape[1]] = True
        return steps.reshape(words.shape), undecided
