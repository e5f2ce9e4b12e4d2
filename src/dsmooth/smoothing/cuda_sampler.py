"""The noise at an address, drawn on an NVIDIA GPU: word for word and step for step what sampler.py draws on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmooth.errors import require
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sampler import WORDS_A_BLOCK, Sampler
from dsmooth.theory.noises import Gaussian

__all__ = ["CudaSampler"]

_LANES = 256  # Philox blocks that one program of the kernel computes


class CudaSampler:
    """Draws noisy batches on a GPU by a kernel in Triton, which comes with torch's CUDA builds; threads may share it."""

    def __init__(self, noise: Gaussian, device: torch.device) -> None:
        tables = Sampler(noise)
        self.device = device
        self._first, self._count = tables.first, len(tables.thresholds)
        self._guide = torch.tensor(tables.guide, device=device)
        self._thresholds = torch.tensor(tables.thresholds.view(np.int64), device=device)
        self._add_noise: Any = require("dsmooth.smoothing.philox_triton", "cuda").add_noise

    def noisy(self, asked: Sequence[tuple[npt.NDArray[np.uint8], Chunk]], rows: int) -> tuple[Tensor, Tensor]:
        """As Sampler.noisy, on the GPU; nothing waits for it."""
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
        return batch, undecided != 0
