"""DnCNN: convolutions that estimate the noise, to be subtracted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.denoisers.base import Denoiser

__all__ = ["DnCNN"]


class DnCNN(Denoiser):
    """`depth` convolutions of `width` channels whose answer is the noise (Zhang et al. 2017); blind to sigma.

    Batch normalisation, where the original trained with it, is expected to be merged into the convolutions.
    """

    architecture: ClassVar[str] = "dncnn"
    blind: ClassVar[bool] = True

    def __init__(self, depth: int = 17, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        self.depth, self.width, self.channels = depth, width, channels
        sizes = [channels, *[width] * (depth - 1), channels]
        for i in range(depth):
            self.add_module(f"conv{i}", nn.Conv2d(sizes[i], sizes[i + 1], 3, padding=1))

    @property
    def config(self) -> dict[str, Any]:
        return {"depth": self.depth, "width": self.width, "channels": self.channels}

    @classmethod
    def config_of(cls, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
        """The configuration that fits a bare file's array shapes, or None where another architecture made it."""
        depth = sum(key.endswith(".weight") for key in shapes)
        first, last = shapes.get("conv0.weight"), shapes.get(f"conv{depth - 1}.weight")
        if first is None or last is None or first[1] != last[0]:
            return None
        return {"depth": depth, "width": first[0], "channels": first[1]}

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        y = x
        for i in range(self.depth - 1):
            y = F.relu(self.get_submodule(f"conv{i}")(y), inplace=True)
        return x - self.get_submodule(f"conv{self.depth - 1}")(y)
