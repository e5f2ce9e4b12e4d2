"""FFDNet: convolutions on half-resolution sub-images, told the noise level."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dsmooth.denoisers.stack import ConvolutionStack

__all__ = ["FFDNet"]


class FFDNet(ConvolutionStack):
    """`depth` convolutions of `width` channels on the 2 x 2 sub-images and a noise map (Zhang et al. 2018).

    The answer is the clean image. Odd heights and widths are padded by repeating the edge.
    """

    architecture: ClassVar[str] = "ffdnet"

    def __init__(self, depth: int = 12, width: int = 96, channels: int = 3) -> None:
        super().__init__(depth, width, channels)

    @staticmethod
    def ends(channels: int) -> tuple[int, int]:
        return 4 * channels + 1, 4 * channels

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        y = F.pixel_unshuffle(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)
        y = torch.cat([y, sigma.to(y.dtype).view(-1, 1, 1, 1).expand(-1, 1, *y.shape[-2:])], dim=1)
        return F.pixel_shuffle(self.convolve(y), 2)[..., :height, :width]
