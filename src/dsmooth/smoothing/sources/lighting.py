"""Noise on the pixels and along a few fixed images, drawn with integers alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.base import Asked, Rows, Source
from dsmooth.smoothing.sources.grid import GridSource, random_words
from dsmooth.smoothing.sources.selftest import judge_noise, tested_samples
from dsmooth.theory.laws.base import Law
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import Direction, Lighting
from dsmooth.theory.votes import Phase

__all__ = ["LightingSource"]

_COEFFICIENTS: Final = 256
"""Samples of a stream whose coefficients are tested: images of many coordinates give few samples otherwise."""


class LightingSource(Source):
    """A sample takes a word for each coordinate and one more for each fixed image, all of its own."""

    def __init__(self, law: Law) -> None:
        if not isinstance(law, Lighting):
            raise BadParameter(f"noise {law.name} has no light: expected lighting")
        self.law, self.pixels = law, GridSource(Gaussian(law.sigma))
        self._sources: dict[Gaussian, GridSource] = {}
        for direction in law.directions((1, 1, 3)):
            self._sources.setdefault(direction.law, GridSource(direction.law))

    def draw(
        self, chunk: Chunk, dim: int, directions: Sequence[Direction]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
        """Noise (count, dim), coefficients (count, directions), both in steps of 1/255, and which samples are undecided."""
        noise = np.empty((chunk.count, dim), np.int16)
        along = np.empty((chunk.count, len(directions)), np.int16)
        undecided = np.zeros(chunk.count, np.bool_)
        start = 0
        for words in random_words(chunk, dim + len(directions)):
            rows = slice(start, start + len(words))
            noise[rows], undecided[rows] = self.pixels.steps(words[:, :dim])
            for j, direction in enumerate(directions):
                steps, lost = self._sources[direction.law].steps(words[:, dim + j : dim + j + 1])
                along[rows, j] = steps[:, 0]
                undecided[rows] |= lost
            start += len(words)
        return noise, along, undecided

    def _noisy(self, asked: Asked, rows: int) -> Rows:
        shape = asked[0][0].shape
        directions = self.law.directions(shape)
        images = np.stack([direction.image.reshape(-1) for direction in directions]).astype(np.int32)
        batch, undecided = np.empty((rows, *shape), np.int16), np.zeros(rows, np.bool_)
        row = 0
        for pixels, chunk in asked:
            noise, along, lost = self.draw(chunk, pixels.size, directions)
            steps = noise + along.astype(np.int32) @ images + pixels.reshape(-1)
            batch[row : row + chunk.count] = steps.reshape(-1, *shape)
            undecided[row : row + chunk.count] = lost
            row += chunk.count
        batch[row:] = batch[0]
        return Rows(batch, undecided)

    def self_test(self, streams: Sequence[bytes], shape: tuple[int, ...]) -> dict[str, Any]:
        """The noise on the pixels, and the coefficients of each strength, each compared with its own table."""
        directions, dim = self.law.directions(shape), int(np.prod(shape))
        samples = tested_samples(dim)
        drawn = [self.draw(Chunk(Phase.PROBE, stream, 0, samples), dim, directions)[0] for stream in streams]
        found = judge_noise(Gaussian(self.law.sigma).table, *drawn)
        drawn = [
            np.concatenate(
                [self.draw(Chunk(Phase.PROBE, stream, i, 1), dim, directions)[1] for i in range(_COEFFICIENTS)]
            )
            for stream in streams
        ]
        first = 0
        for law, group in groupby(directions, key=lambda direction: direction.law):
            last = first + len(list(group))
            judge_noise(law.table, *(along[:, first:last] for along in drawn))
            first = last
        return found
