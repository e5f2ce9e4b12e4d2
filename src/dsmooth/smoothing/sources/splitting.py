"""The outcomes of splitting noise, by whole numbers alone: the same for whoever asks, without a key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.base import Asked, Rows, Source
from dsmooth.smoothing.sources.grid import random_words
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.base import Law
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.votes import Phase

__all__ = ["SplittingSource", "template"]

_PUBLISHED: Final = b"dsmooth.split.01"
"""The key of the template. Which one it is proves nothing and changes nothing, as long as it is the same for all images."""

_STEPS: Final = 4 * LEVELS  # from black to white: middles of cells lie at halves, and two of them are averaged


@lru_cache(maxsize=8)
def template(dim: int, levels: int) -> npt.NDArray[np.int32]:
    """Where the splits of each of dim coordinates begin in outcome 0: whole numbers from 0 to levels - 1."""
    (words,) = random_words(Chunk(Phase.PROBE, _PUBLISHED, 0, 1), dim)
    return ((words[0] >> np.uint64(32)) * np.uint64(levels) >> np.uint64(32)).astype(np.int32)


class SplittingSource(Source):
    """Shows an image in all the ways of splitting noise, one a sample.

    With V = (template + s) mod L and the pixel X in 0..255, the splits are at V + 1/2 + a multiple of L, and the next one
    above X is c/2 for c = 2qL + 2V + 1, q = ceil((2X - 2V - 1) / 2L). Shown is the mean of the cell's two ends, each clipped
    to the pixel range: (min(c, 510) + max(c - 2L, 0)) / 1020.
    """

    exhaustive: ClassVar[bool] = True

    def __init__(self, law: Law) -> None:
        if not isinstance(law, Splitting):
            raise BadParameter(f"noise {law.name} has no splits: expected splitting noise")
        self.levels = law.levels

    def _noisy(self, asked: Asked, rows: int) -> Rows:
        shape, levels = asked[0][0].shape, self.levels
        batch = np.empty((rows, *shape), dtype=np.int16)
        row = 0
        for pixels, chunk in asked:
            outcomes = np.arange(chunk.first, chunk.first + chunk.count) % levels
            odd = 2 * ((template(pixels.size, levels) + outcomes[:, None]) % levels) + 1
            upper = odd - 2 * levels * ((odd - 2 * pixels.reshape(-1).astype(np.int32)) // (2 * levels))
            shown = np.minimum(upper, 2 * LEVELS) + np.maximum(upper - 2 * levels, 0)
            batch[row : row + chunk.count] = shown.reshape(-1, *shape)
            row += chunk.count
        batch[row:] = batch[0]
        return Rows(batch, levels=_STEPS)

    def self_test(self, streams: Sequence[bytes], shape: tuple[int, ...]) -> dict[str, Any]:
        """Nothing: there is no chance that could fail."""
        return {}
