"""The networks of Song et al. 2021, with the names of arrays that EDM's files have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.errors import BadParameter

__all__ = ["SongUNet"]

_HALF = math.sqrt(0.5)  # keeps the variance of a sum of two


class SongUNet(nn.Module):
    """DDPM++ and NCSN++ (Song et al. 2021, appendix H) as Karras et al. 2022 (table 7) use them, without classes.

    Images (B, in_channels, H, W) and times (B,) -> answers (B, out_channels, H, W); sides must be multiples of
    2^(scales - 1). The arguments are those of EDM's files: `channel_mult` times `model_channels` are the channels of each
    scale, `num_blocks` its residual blocks, attention is at the scales where an image of `img_resolution` has a side in
    `attn_resolutions`. DDPM++: positional, standard, filter 1 1; NCSN++: fourier, residual, filter 1 3 3 1, twice the noise
    channels. Dropout, and what the network was told of augmentation in training, have no part in its answers.
    """

    def __init__(
        self,
        img_resolution: int,
        in_channels: int,
        out_channels: int,
        *,
        augment_dim: int = 0,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        channel_mult_emb: int = 4,
        num_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        embedding_type: str = "positional",
        channel_mult_noise: int = 1,
        encoder_type: str = "standard",
        decoder_type: str = "standard",
        resample_filter: Sequence[float] = (1, 1),
    ) -> None:
        super().__init__()
        kinds = (embedding_type, encoder_type, decoder_type)
        if kinds not in (("positional", "standard", "standard"), ("fourier", "residual", "standard")):
            raise BadParameter(
                f"expected DDPM++ (positional, standard, standard) or NCSN++ (fourier, residual, standard), got {kinds}"
            )
        if not channel_mult:
            raise BadParameter("expected at least one scale, got no channel_mult")
        noise, told = model_channels * channel_mult_noise, model_channels * channel_mult_emb
        self.blocks, self.residual = num_blocks, encoder_type == "residual"
        self.sides = [img_resolution >> scale for scale in range(len(channel_mult))]
        self.map_noise = _Fourier(noise) if embedding_type == "fourier" else _Positional(noise)
        if augment_dim:
            self.map_augment = nn.Linear(augment_dim, noise, bias=False)
        self.map_layer0, self.map_layer1 = nn.Linear(noise, told), nn.Linear(told, told)

        def block(wide: int, width: int, resampled: str = "", attention: bool = False) -> _Block:
            return _Block(wide, width, told, resampled, resample_filter, attention)

        width = model_channels
        kept: list[int] = []
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        for scale, (side, times) in enumerate(zip(self.sides, channel_mult, strict=True)):
            if scale == 0:
                self.enc[f"{side}x{side}_conv"] = nn.Conv2d(in_channels, width, 3, padding=1)
            else:
                self.enc[f"{side}x{side}_down"] = block(width, width, "down")
                if self.residual:
                    wide = in_channels if scale == 1 else kept[-1]
                    self.enc[f"{side}x{side}_aux_residual"] = _Fused(wide, width, resample_filter)
            kept.append(width)
            for i in range(num_blocks):
                self.enc[f"{side}x{side}_block{i}"] = block(
                    width, model_channels * times, attention=side in attn_resolutions
                )
                width = model_channels * times
                kept.append(width)
        for scale in reversed(range(len(self.sides))):
            side, times = self.sides[scale], channel_mult[scale]
            if scale == len(self.sides) - 1:
                self.dec[f"{side}x{side}_in0"] = block(width, width, attention=True)
                self.dec[f"{side}x{side}_in1"] = block(width, width)
            else:
                self.dec[f"{side}x{side}_up"] = block(width, width, "up")
            for i in range(num_blocks + 1):
                last = i == num_blocks and side in attn_resolutions
                self.dec[f"{side}x{side}_block{i}"] = block(width + kept.pop(), model_channels * times, attention=last)
                width = model_channels * times
        self.dec[f"{side}x{side}_aux_norm"] = _norm(width)
        self.dec[f"{side}x{side}_aux_conv"] = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        told = F.silu(self.map_layer1(F.silu(self.map_layer0(self.map_noise(time)))))
        seen, kept = x, []
        for scale, side in enumerate(self.sides):
            here = f"{side}x{side}_"
            if scale == 0:
                x = self.enc[f"{here}conv"](x)
            else:
                x = self.enc[f"{here}down"](x, told)
                if self.residual:
                    x = seen = (x + self.enc[f"{here}aux_residual"](seen)) * _HALF
            kept.append(x)
            for i in range(self.blocks):
                x = self.enc[f"{here}block{i}"](x, told)
                kept.append(x)
        for scale in reversed(range(len(self.sides))):
            here = f"{self.sides[scale]}x{self.sides[scale]}_"
            if scale == len(self.sides) - 1:
                x = self.dec[f"{here}in1"](self.dec[f"{here}in0"](x, told), told)
            else:
                x = self.dec[f"{here}up"](x, told)
            for i in range(self.blocks + 1):
                x = self.dec[f"{here}block{i}"](torch.cat([x, kept.pop()], dim=1), told)
        answer: Tensor = self.dec[f"{here}aux_conv"](F.silu(self.dec[f"{here}aux_norm"](x)))
        return answer


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(32, width // 4), width, eps=1e-6)


class _Positional(nn.Module):
    """Times (B,) -> sines and cosines (B, channels), at frequencies from 1 to 1/10,000."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.count = channels // 2

    def forward(self, time: Tensor) -> Tensor:
        exponents = torch.arange(self.count, dtype=time.dtype, device=time.device) / (self.count - 1)
        angles = time[:, None] * 10_000.0**-exponents
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class _Fourier(nn.Module):
    """Times (B,) -> sines and cosines (B, channels), at frequencies drawn once."""

    freqs: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 16 * torch.randn(channels // 2))

    def forward(self, time: Tensor) -> Tensor:
        angles = time[:, None] * (2 * math.pi * self.freqs).to(time.dtype)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class _Resampled(nn.Module):
    """A convolution at another scale: half or twice the size by a separable filter, then the kernel; none of 0 pixels."""

    resample_filter: Tensor

    def __init__(self, wide: int, width: int, kernel: int, way: str, taps: Sequence[float]) -> None:
        super().__init__()
        conv = nn.Conv2d(wide, width, kernel)
        self.weight, self.bias, self.way = conv.weight, conv.bias, way
        line = torch.tensor(list(taps), dtype=torch.float32)
        self.register_buffer("resample_filter", (torch.outer(line, line) / line.sum() ** 2)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        edge = (self.resample_filter.shape[-1] - 1) // 2
        each = self.resample_filter.to(x.dtype).expand(x.shape[1], -1, -1, -1)
        if self.way == "up":
            x = F.conv_transpose2d(x, 4 * each, stride=2, padding=edge, groups=x.shape[1])
        else:
            x = F.conv2d(x, each, stride=2, padding=edge, groups=x.shape[1])
        return F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


class _Fused(_Resampled):
    """The kernel first, then half the size; beyond the edges of the image there is nothing for either."""

    def __init__(self, wide: int, width: int, taps: Sequence[float]) -> None:
        super().__init__(wide, width, 3, "down", taps)

    def forward(self, x: Tensor) -> Tensor:
        edge = self.weight.shape[-1] // 2 + (self.resample_filter.shape[-1] - 1) // 2
        x = F.conv2d(x, self.weight, padding=edge)
        each = self.resample_filter.to(x.dtype).expand(x.shape[1], -1, -1, -1)
        assert self.bias is not None
        return F.conv2d(x, each, self.bias, stride=2, groups=x.shape[1])


class _Block(nn.Module):
    """A residual block that is told the time, with attention behind it where that is wanted."""

    def __init__(
        self, wide: int, width: int, told: int, resampled: str, taps: Sequence[float], attention: bool
    ) -> None:
        super().__init__()
        self.norm0, self.norm1 = _norm(wide), _norm(width)
        self.conv0 = _Resampled(wide, width, 3, resampled, taps) if resampled else nn.Conv2d(wide, width, 3, padding=1)
        self.affine = nn.Linear(told, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.skip: nn.Module = nn.Identity()
        if resampled:
            self.skip = _Resampled(wide, width, 1, resampled, taps)
        elif wide != width:
            self.skip = nn.Conv2d(wide, width, 1)
        self.attends = attention
        if attention:
            self.norm2, self.qkv, self.proj = _norm(width), nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        y = self.conv0(F.silu(self.norm0(x))) + self.affine(told)[:, :, None, None]
        y = (self.conv1(F.silu(self.norm1(y))) + self.skip(x)) * _HALF
        return (y + self._attended(y)) * _HALF if self.attends else y

    def _attended(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm2(x)).flatten(2).unflatten(1, (-1, 3)).unbind(2)  # (B, C, H W) each
        weights = (query.transpose(1, 2) @ key / math.sqrt(key.shape[1])).softmax(dim=2)
        out: Tensor = self.proj((value @ weights.transpose(1, 2)).view_as(x))
        return out
