"""What DnCNN and FFDNet have in common: a plain stack of 3 x 3 convolutions, named conv0, conv1, ..."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.denoisers.base import Denoiser
from dsmooth.errors import BadParameter

__all__ = ["ConvolutionStack"]


class ConvolutionStack(Denoiser):
    """`depth` convolutions of `width` channels with a ReLU between them.

    With `norm`, batch normalisation (norm1, norm2, ...) takes the place of the bias in the convolutions between the first
    and the last, and the last has no bias either.
    """

    def __init__(self, depth: int, width: int, channels: int, norm: bool = False) -> None:
        super().__init__()
        if depth < 2 or width < 1:
            raise BadParameter(f"expected a depth of at least 2 and a width of at least 1, got {depth} and {width}")
        self.depth, self.width, self.channels, self.norm = depth, width, channels, norm
        inside, outside = self.ends(channels)
        sizes = [inside, *[width] * (depth - 1), outside]
        for i in range(depth):
            bias = i == 0 or not norm
            self.add_module(f"conv{i}", nn.Conv2d(sizes[i], sizes[i + 1], 3, padding=1, bias=bias))
            if norm and 0 < i < depth - 1:
                self.add_module(f"norm{i}", nn.BatchNorm2d(width, eps=1e-4))

    @staticmethod
    @abstractmethod
    def ends(channels: int) -> tuple[int, int]:
        """Channels into the first convolution and out of the last, for images of so many channels."""

    @property
    def config(self) -> dict[str, Any]:
        return {"depth": self.depth, "width": self.width, "channels": self.channels}

    @classmethod
    def config_of(cls, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
        depth = sum(key.endswith(".weight") for key in shapes)
        first, last = shapes.get("conv0.weight"), shapes.get(f"conv{depth - 1}.weight")
        for channels in (1, 3):
            if first is not None and last is not None and (first[1], last[0]) == cls.ends(channels):
                return {"depth": depth, "width": first[0], "channels": channels}
        return None

    def convolve(self, y: Tensor) -> Tensor:
        """The stack's answer."""
        for i in range(self.depth - 1):
            y = self.get_submodule(f"conv{i}")(y)
            if self.norm and i > 0:
                y = self.get_submodule(f"norm{i}")(y)
            y = F.relu(y, inplace=True)
        return self.get_submodule(f"conv{self.depth - 1}")(y)
