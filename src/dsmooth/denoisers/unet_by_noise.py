"""A U-Net whose finest scales have other weights for weak noise than for strong noise."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.unet import UNet
from dsmooth.errors import BadParameter

__all__ = ["UNetByNoise"]

_BY_SCALE: Final = ("encoders", "downs", "ups", "decoders")
"""The lists of a UNet that hold what belongs to each scale, the finest first."""


class UNetByNoise(Denoiser):
    """Two U-Nets in one: the `fine` finest scales twice, for sigma below `border` and from there on, all others once.

    A network of so much work does better at one noise level than over a range, and nearly all of what it gains is in its
    finest scales, which hold few of the weights: weak noise leaves detail that can be kept, strong noise none. `at` is the
    U-Net for one noise level, with no more work than any other. `shape`: the arguments of UNet, but for a class head.
    """

    architecture: ClassVar[str] = "unet-by-noise"

    def __init__(self, border: float = 0.3, fine: int = 2, **shape: Any) -> None:
        super().__init__()
        if not 0.0 < border < math.inf:
            raise BadParameter(f"expected the border as a sigma above 0, got {border}")
        if shape.get("classes"):
            raise BadParameter("a unet-by-noise has no class head: leave out the classes, or choose unet")
        self.border, self.fine = border, fine
        self.strong, other = UNet(**shape), UNet(**shape)
        self.channels = self.strong.channels
        if not 1 <= fine <= len(self.strong.widths):
            raise BadParameter(f"expected 1 to {len(self.strong.widths)} fine scales, as many as there are, got {fine}")
        self.weak = nn.ModuleDict({"head": other.head, "tail": other.tail})
        self.weak.update({name: getattr(other, name)[:fine] for name in _BY_SCALE})

    @classmethod
    def joined(cls, weak: UNet, strong: UNet, *, border: float = 0.3, fine: int = 2) -> UNetByNoise:
        """The finest scales of `weak` for sigma below `border`; all else is of `strong`, which has the same shape."""
        made = cls(border, fine, **strong.config)
        made.strong.load_state_dict(strong.state_dict())
        made.weak.load_state_dict({name: weak.state_dict()[name] for name in made.weak.state_dict()})
        return made

    @property
    def config(self) -> dict[str, Any]:
        return {"border": self.border, "fine": self.fine, **self.strong.config}

    def at(self, sigma: float) -> UNet:
        """The U-Net for this noise level; its weights are the ones held here, not copies."""
        if sigma >= self.border:
            return self.strong
        with torch.device("meta"):
            network = UNet(**self.strong.config)
        for name, part in self.weak.items():
            coarse = getattr(self.strong, name)[self.fine :] if name in _BY_SCALE else None
            setattr(network, name, part if coarse is None else nn.ModuleList([*part.children(), *coarse]))
        network.training = self.training
        return network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        weak = sigma < self.border
        if not weak.any():
            return self.strong(x, sigma)
        if weak.all():
            return self.at(0.0)(x, sigma)
        there, here = weak.nonzero().flatten(), (~weak).nonzero().flatten()
        both = torch.cat([self.at(0.0)(x[there], sigma[there]), self.strong(x[here], sigma[here])])
        return both[torch.cat([there, here]).argsort()]
