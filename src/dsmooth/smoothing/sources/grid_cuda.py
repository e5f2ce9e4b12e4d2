"""The noise at an address, drawn on an NVIDIA GPU: word for word and step for step what grid.py draws on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dsmooth.errors import require
from dsmooth.smoothing.sources.base import Asked, Rows, Source
from dsmooth.smoothing.sources.grid import WORDS_A_BLOCK, GridSource
from dsmooth.theory.laws.base import Law

__all__ = ["CudaGridSource"]

_LANES = 256  # Philox blocks that one program of the kernel computes


class CudaGridSource(Source):
    """Draws noisy batches on a GPU by a kernel in Triton, which comes with torch's CUDA builds."""

    def __init__(self, law: Law, device: torch.device) -> None:
        self._here = GridSource(law)
        self.device = device
        self._first, self._count = self._here.first, len(self._here.thresholds)
        self._guide = torch.tensor(self._here.guide, device=device)
        self._thresholds = torch.tensor(self._here.thresholds.view(np.int64), device=device)
        self._add_noise: Any = require("dsmooth.smoothing.sources.philox_triton", "cuda").add_noise

    def self_test(self, streams: Sequence[bytes], shape: tuple[int, ...]) -> dict[str, Any]:
        return self._here.self_test(streams, shape)

    def _noisy(self, asked: Asked, rows: int) -> Rows:
        """Nothing waits for the GPU here."""
        shape, dim = asked[0][0].shape, asked[0][0].size
        blocks = -(-dim // WORDS_A_BLOCK)
        batch = torch.empty((rows, *shape), dtype=torch.int16, device=self.device)
        undecided = torch.zeros(rows, dtype=torch.int8, device=self.device)
        row = 0
        for pixels, chunk in asked:
            low, high = np.frombuffer(chunk.stream, dtype="<i8").tolist()
            self._add_noise[chunk.count, -(-blocks // _LANES)](
                batch[row:],
                undecided[row:],
                torch.tensor(pixels, device=self.device),
                self._guide,
                self._thresholds,
                low,
                high,
                chunk.first,
                dim,
                blocks,
                self._first,
                self._count,
                LANES=_LANES,
                SEARCH=self._count.bit_length(),
            )
            row += chunk.count
        batch[row:] = batch[0]
        return Rows(batch, undecided != 0)
