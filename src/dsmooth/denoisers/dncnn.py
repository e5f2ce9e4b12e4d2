"""DnCNN: convolutions that estimate the noise, to be subtracted."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dsmooth.denoisers.stack import ConvolutionStack

__all__ = ["DnCNN"]


class DnCNN(ConvolutionStack):
    """`depth` convolutions of `width` channels whose answer is the noise (Zhang et al. 2017); blind to sigma.

    Batch normalisation, where the original trained with it, is expected to be merged into the convolutions.
    """

    architecture: ClassVar[str] = "dncnn"
    blind: ClassVar[bool] = True

    def __init__(self, depth: int = 17, width: int = 64, channels: int = 3) -> None:
        super().__init__(depth, width, channels)

    @staticmethod
    def ends(channels: int) -> tuple[int, int]:
        return channels, channels

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x - self.convolve(x)
