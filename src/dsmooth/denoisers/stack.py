"""What DnCNN and FFDNet have in common: a plain stack of 3 x 3 convolutions, named conv0, conv1, ..."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.denoisers.base import Denoiser

__all__ = ["ConvolutionStack"]


class ConvolutionStack(Denoiser):
    """`depth` convolutions of `width` channels with a ReLU between them."""

    def __init__(self, depth: int, width: int, channels: int) -> None:
        super().__init__()
        self.depth, self.width, self.channels = depth, width, channels
        inside, outside = self.ends(channels)
        sizes = [inside, *[width] * (depth - 1), outside]
        for i in range(depth):
            self.add_module(f"conv{i}", nn.Conv2d(sizes[i], sizes[i + 1], 3, padding=1))

    @staticmethod
    @abstractmethod
    def ends(channels: int) -> tuple[int, int]:
        """Channels into the first convolution and out of the last, for images of so many channels."""

    @property
    def config(self) -> dict[str, Any]:
        return {"depth": self.depth, "width": self.width, "channels": self.channels}

    @classmethod
    def config_of(cls, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
        """The configuration that fits a bare file's array shapes, or None where another architecture made it."""
        depth = sum(key.endswith(".weight") for key in shapes)
        first, last = shapes.get("conv0.weight"), shapes.get(f"conv{depth - 1}.weight")
        for channels in (1, 3):
            if first is not None and last is not None and (first[1], last[0]) == cls.ends(channels):
                return {"depth": depth, "width": first[0], "channels": channels}
        return None

    def convolve(self, y: Tensor) -> Tensor:
        """The stack's answer."""
        for i in range(self.depth - 1):
            y = F.relu(self.get_submodule(f"conv{i}")(y), inplace=True)
        return self.get_submodule(f"conv{self.depth - 1}")(y)
