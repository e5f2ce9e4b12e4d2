"""A sigma-aware U-Net of residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.denoisers.base import Denoiser
from dsmooth.errors import BadParameter

__all__ = ["UNet"]

_MEAN, _SPREAD = 0.5, 0.25  # of the pixels of natural images, roughly


class _Residual(nn.Module):
    """x + conv(relu(conv(x))); the second convolution starts small, so that a deep stack starts near the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(width, width, 3, padding=1)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        for conv, gain in ((self.conv0, 1.0), (self.conv1, 0.2)):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            conv.weight.data.mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1(F.relu(self.conv0(x)))


class _NormedResidual(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), with batch normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm0, self.norm1 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv0 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1(F.relu(self.norm1(self.conv0(F.relu(self.norm0(x))))))


def _blocks(width: int, count: int, norm: bool) -> nn.Sequential:
    kind = _NormedResidual if norm else _Residual
    return nn.Sequential(*(kind(width) for _ in range(count)))


class UNet(Denoiser):
    """Several scales, one network for a range of sigma: the noise level enters as an additional constant channel.

    widths[i] channels at scale i, blocks[i] residual blocks in the encoder and in the decoder; `shuffle` folds
    shuffle x shuffle pixels into channels first, which makes photographs four times cheaper at 2 (as in FFDNet, Zhang
    et al. 2018). The output is x plus a residual (as in DnCNN, Zhang et al. 2017). With `scaled`, input and output are
    scaled by the noise level, so that one network is well-conditioned over several octaves of sigma (section 5 of Karras
    et al. 2022). `decoder_blocks`: decoder blocks at each scale but the coarsest, if not as in the encoder. `classes`: a
    head at the coarsest scale predicts the class of the image (`recognise`) and conditions the decoder on it: for a given
    classifier, the best denoiser recognises the image first and then renders what the classifier expects. `norm`: batch
    normalisation in the residual blocks, with which the head learns faster. Any height and width: edges are padded by
    repetition to a multiple of the total stride, then cropped.
    """

    architecture: ClassVar[str] = "unet"

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 192),
        blocks: Sequence[int] = (2, 2, 2, 2),
        shuffle: int = 2,
        channels: int = 3,
        scaled: bool = False,
        classes: int = 0,
        decoder_blocks: Sequence[int] | None = None,
        norm: bool = False,
    ) -> None:
        super().__init__()
        rising = blocks[:-1] if decoder_blocks is None else decoder_blocks
        if len(widths) != len(blocks) or not widths or min(*widths, *blocks, shuffle, channels) < 1:
            raise BadParameter(
                f"expected as many widths as blocks, and all of them, shuffle and channels at least 1, got widths "
                f"{list(widths)}, blocks {list(blocks)}, shuffle {shuffle}, channels {channels}"
            )
        if len(rising) != len(widths) - 1 or min((*rising, 1)) < 1 or classes < 0:
            raise BadParameter(
                f"expected decoder blocks for each scale but the coarsest, all at least 1, and 0 classes or more, "
                f"got {list(rising)} for widths {list(widths)}, {classes} classes"
            )
        self.widths, self.blocks, self.rising = tuple(widths), tuple(blocks), tuple(rising)
        self.shuffle, self.channels, self.scaled = shuffle, channels, scaled
        self.classes, self.norm = classes, norm
        folded = channels * shuffle**2
        self.head = nn.Conv2d(folded + 1, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(_blocks(w, n, norm) for w, n in zip(widths, blocks, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoders = nn.ModuleList(_blocks(w, n, norm) for w, n in zip(widths[:-1], rising, strict=True))
        self.tail = nn.Conv2d(widths[0], folded, 3, padding=1)
        self.tail.weight.data.mul_(0.1)
        if classes:
            self.classify, self.context = nn.Linear(widths[-1], classes), nn.Linear(widths[-1], widths[-1])
            nn.init.zeros_(self.context.weight)
            nn.init.zeros_(self.context.bias)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "widths": list(self.widths),
            "blocks": list(self.blocks),
            "shuffle": self.shuffle,
            "channels": self.channels,
            **({"scaled": True} if self.scaled else {}),
            **({"classes": self.classes} if self.classes else {}),
            **({"norm": True} if self.norm else {}),
            **({"decoder_blocks": list(self.rising)} if self.rising != self.blocks[:-1] else {}),
        }

    @property
    def stride(self) -> int:
        """Height and width are padded to a multiple of this many pixels."""
        return self.shuffle * 2 ** (len(self.widths) - 1)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.recognise(x, sigma)[0]

    def recognise(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """The estimate of the clean image, and the logits (B, classes) of the class head; None without one."""
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        level = sigma.to(x.dtype).view(-1, 1, 1, 1)
        if not self.scaled:
            added, logits = self._added(padded, level)
            return (padded + added)[..., :height, :width], logits
        total = (level**2 + _SPREAD**2).sqrt()  # standard deviation of a noisy pixel around _MEAN
        centred = padded - _MEAN
        added, logits = self._added(centred / total, level.log() / 4)
        linear = centred * (_SPREAD / total) ** 2  # the best estimate that looks at one pixel alone
        return (_MEAN + linear + added * (level * _SPREAD / total))[..., :height, :width], logits

    def _added(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor | None]:
        y = F.pixel_unshuffle(x, self.shuffle)
        y = self.head(torch.cat([y, level.expand(-1, 1, *y.shape[-2:])], dim=1))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=False):
            y = encoder(y)
            skips.append(y)
            y = down(y)
        y = self.encoders[-1](y)
        logits = None
        if self.classes:
            seen = F.relu(y).mean(dim=(2, 3))
            logits = self.classify(seen)
            y = y + self.context(seen)[:, :, None, None]
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            y = decoder(up(y) + skips.pop())
        return F.pixel_shuffle(self.tail(y), self.shuffle), logits
