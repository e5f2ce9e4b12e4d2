"""FFDNet: convolutions on half-resolution sub-images, told the noise level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.denoisers.base import Denoiser

__all__ = ["FFDNet"]


class FFDNet(Denoiser):
    """`depth` convolutions of `width` channels on the 2 x 2 sub-images and a noise map (Zhang et al. 2018).

    The answer is the clean image. Odd heights and widths are padded by repeating the edge.
    """

    architecture: ClassVar[str] = "ffdnet"

    def __init__(self, depth: int = 12, width: int = 96, channels: int = 3) -> None:
        super().__init__()
        self.depth, self.width, self.channels = depth, width, channels
        sizes = [4 * channels + 1, *[width] * (depth - 1), 4 * channels]
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
        if first is None or last is None or first[1] != last[0] + 1 or last[0] % 4:
            return None
        return {"depth": depth, "width": first[0], "channels": last[0] // 4}

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        y = F.pixel_unshuffle(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)
        y = torch.cat([y, sigma.to(y.dtype).view(-1, 1, 1, 1).expand(-1, 1, *y.shape[-2:])], dim=1)
        for i in range(self.depth - 1):
            y = F.relu(self.get_submodule(f"conv{i}")(y), inplace=True)
        return F.pixel_shuffle(self.get_submodule(f"conv{self.depth - 1}")(y), 2)[..., :height, :width]
