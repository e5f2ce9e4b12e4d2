"""DnCNN: convolutions that estimate the noise, to be subtracted."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dsmooth.denoisers.stack import ConvolutionStack

__all__ = ["DnCNN"]


class DnCNN(ConvolutionStack):
    """`depth` convolutions of `width` channels whose answer is the noise (Zhang et al. 2017); blind to sigma.

    With `norm` it is the network to train: 17 x 64 has the 558,400 parameters of Salman et al. 2020, 17 x 128 (their
    DnCNN-wide) 2,222,720. Without, batch normalisation is expected to be merged into the convolutions.
    """

    architecture: ClassVar[str] = "dncnn"
    blind: ClassVar[bool] = True

    def __init__(self, depth: int = 17, width: int = 64, channels: int = 3, norm: bool = False) -> None:
        super().__init__(depth, width, channels, norm)

    @property
    def config(self) -> dict[str, Any]:
        return {**super().config, "norm": True} if self.norm else super().config

    @staticmethod
    def ends(channels: int) -> tuple[int, int]:
        return channels, channels

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x - self.convolve(x)
