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
    by_noise: ClassVar[bool] = True

    def __init__(self, border: float = 0.3, fine: int = 2, **shape: Any) -> None:
        super().__init__()
        if not 0.0 < border < math.inf:
            raise BadParameter(f"expected the border as a sigma above 0, got {border}")
        if shape.get("classes"):
            raise BadParameter("a unet-by-noise has no class head: leave out the classes, or choose unet")
        self.border, self.fine = border, fine
        self.strong, weak = UNet(**shape), UNet(**shape)
        self.channels = self.strong.channels
        if not 1 <= fine <= len(self.strong.widths):
            raise BadParameter(f"expected 1 to {len(self.strong.widths)} fine scales, as many as there are, got {fine}")
        self.weak = nn.ModuleDict({"head": weak.head, "tail": weak.tail})
        for name in _BY_SCALE:
            own = getattr(weak, name)[:fine]
            self.weak[name] = own
            setattr(weak, name, nn.ModuleList([*own, *getattr(self.strong, name)[fine:]]))
        self._networks = weak, self.strong  # in a tuple: torch is to see the parts that both have only once

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
        weak, strong = self._networks
        return weak if sigma < self.border else strong

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        low = sigma < self.border
        weak, strong = self._networks
        if low.all():
            return weak(x, sigma)
        if not low.any():
            return strong(x, sigma)
        there, here = low.nonzero().flatten(), (~low).nonzero().flatten()
        both = torch.cat([weak(x[there], sigma[there]), strong(x[here], sigma[here])])
        return both[torch.cat([there, here]).argsort()]
