"""The contract of sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmooth.errors import BadModel
from dsmooth.images.pixels import Pixels
from dsmooth.smoothing.chunks import Chunk
from dsmooth.theory.grid import LEVELS

__all__ = ["Asked", "Rows", "Source"]

Asked = Sequence[tuple[Pixels, Chunk]]
"""Images (H, W, C) of one shape, and which samples of each."""

_INT16 = (np.int16, torch.int16)


@dataclass(frozen=True, slots=True)
class Rows:
    """What the networks see, in whole steps: images are steps / levels."""

    steps: npt.NDArray[np.int16] | Tensor
    """(B, H, W, C), here or on the networks' device."""
    undecided: npt.NDArray[np.bool_] | Tensor | None = None
    """(B,): rows whose noise 64 bits do not decide, trials without a vote; None where there are none."""
    levels: int = LEVELS
    """Steps from black to white."""

    def __len__(self) -> int:
        return len(self.steps)

    def images(self, device: torch.device) -> Tensor:
        """(B, C, H, W) float32 on this device, in the scale [0, 1] and not clipped."""
        steps = torch.as_tensor(self.steps).to(device)
        return steps.permute(0, 3, 1, 2).to(torch.float32).div_(self.levels)


class Source(ABC):
    """Makes the samples of a law. It holds tables only, so threads may share it.

    A sample depends on image, stream and number alone, not on its batch or on where it is drawn.
    Phases differ by their streams; a chunk of the phase `probe` may have any numbers, the others have those that the
    law allows.
    """

    exhaustive: ClassVar[bool] = False
    """Whether its samples are all outcomes of the noise, so that certificates are deterministic."""

    @final
    def noisy(self, asked: Asked, rows: int) -> Rows:
        """A batch of `rows` rows: the samples that are asked for, in order; rows that nobody asked for repeat the first.

        Raises BadModel where the source answers with anything else.
        """
        made = self._noisy(asked, rows)
        expected = (rows, *asked[0][0].shape)
        if tuple(made.steps.shape) != expected or made.steps.dtype not in _INT16:
            raise BadModel(
                f"expected a source of noise that makes int16 rows of shape {expected}, "
                f"got {made.steps.dtype} of {tuple(made.steps.shape)}"
            )
        return made

    @abstractmethod
    def _noisy(self, asked: Asked, rows: int) -> Rows:
        """As `noisy`; what comes back is checked there."""

    @abstractmethod
    def self_test(self, streams: Sequence[bytes], shape: tuple[int, ...]) -> dict[str, Any]:
        """What was measured on the run's own noise for an image of this shape, compared with the law.

        Raises NoiseFailed where it cannot be chance; a sound source fails fewer than one run in 1e9. Empty where there is no
        chance that could fail.
        """
