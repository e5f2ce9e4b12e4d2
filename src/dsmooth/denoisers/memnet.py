"""MemNet: memory blocks whose gates see everything that came before."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dsmooth.denoisers.base import Denoiser

__all__ = ["MemNet"]


def _layer(inside: int, outside: int, kernel: int = 3) -> nn.Sequential:
    """Normalisation, ReLU, convolution."""
    conv = nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.BatchNorm2d(inside), nn.ReLU(inplace=True), conv)


class _Memory(nn.Module):
    """`units` residual units in a row; a 1 x 1 gate over their answers and those of the blocks before."""

    def __init__(self, width: int, units: int, before: int) -> None:
        super().__init__()
        pairs = (nn.Sequential(_layer(width, width), _layer(width, width)) for _ in range(units))
        self.units = nn.ModuleList(pairs)
        self.gate = _layer((units + before) * width, width, kernel=1)

    def forward(self, memories: list[Tensor]) -> Tensor:
        y, recent = memories[-1], []
        for unit in self.units:
            y = y + unit(y)
            recent.append(y)
        gated: Tensor = self.gate(torch.cat([*recent, *memories], dim=1))
        return gated


class MemNet(Denoiser):
    """`blocks` memory blocks of `units` residual units each (Tai et al. 2017); blind to sigma.

    3 blocks of 6 units with 64 channels have the 1,436,678 parameters of Salman et al. 2020. As there, each unit has
    weights of its own.
    """

    architecture: ClassVar[str] = "memnet"
    blind: ClassVar[bool] = True

    def __init__(self, blocks: int = 3, units: int = 6, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        self.units, self.width, self.channels = units, width, channels
        self.head = _layer(channels, width)
        self.memories = nn.ModuleList(_Memory(width, units, before) for before in range(1, blocks + 1))
        self.tail = _layer(width, channels)

    @property
    def config(self) -> dict[str, Any]:
        return {"blocks": len(self.memories), "units": self.units, "width": self.width, "channels": self.channels}

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        held = [self.head(x)]
        for memory in self.memories:
            held.append(memory(held))
        answer: Tensor = x + self.tail(held[-1])
        return answer
