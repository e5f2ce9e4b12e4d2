"""Images of one size, all on the device: shifted and mirrored there, so that small steps wait for nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dsmooth.errors import BadImage
from dsmooth.images.sets import LabelledImage

__all__ = ["Resident"]


class Resident:
    """Batches of whole images, each moved by up to `padding` pixels over a border of zeros, and (with `mirror`) mirrored
    half of the time.

    distort: images are turned by up to so many radians as well, each side is scaled and each channel's contrast changed by
        up to this share. A classifier knows the images it was trained on by heart; these it has not seen.
    (N, H, W, C) bytes on the device; a batch is drawn with replacement.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        padding: int,
        device: torch.device,
        distort: float = 0.0,
        mirror: bool = True,
    ) -> None:
        if not images:
            raise BadImage("expected at least one training image, got none")
        shapes = {image.pixels.shape for image in images}
        if len(shapes) > 1:
            a, b = sorted(shapes)[:2]
            raise BadImage(f"expected whole images of one size, got {a} and {b}; leave out --padding for patches")
        pixels = torch.from_numpy(np.stack([image.pixels for image in images])).to(device)
        self.padding, self.distort, self.mirror = padding, distort, mirror
        self.height, self.width = pixels.shape[1:3]
        self._pixels = F.pad(pixels, (0, 0, padding, padding, padding, padding))
        labels = [image.label for image in images]
        self._labels = None if None in labels else torch.tensor(labels, device=device)

    def batch(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """(count, C, H, W) float32 in [0, 1], channels last in memory, and labels; drawn with this generator alone."""
        device = self._pixels.device

        def draw(end: int) -> Tensor:
            return torch.randint(end, (count, 1), generator=generator, device=device)

        index, top, left, mirrored = (
            draw(end) for end in (len(self._pixels), 2 * self.padding + 1, 2 * self.padding + 1, 2)
        )
        rows = top + torch.arange(self.height, device=device)
        across = torch.arange(self.width, device=device)
        columns = left + torch.where((mirrored == 1) & self.mirror, self.width - 1 - across, across)
        crops = self._pixels[index[:, :, None], rows[:, :, None], columns[:, None, :]]
        labels = None if self._labels is None else self._labels[index[:, 0]]
        clean = crops.permute(0, 3, 1, 2).float() / 255
        return (self._distorted(clean, generator) if self.distort else clean), labels

    def _distorted(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        count, channels = clean.shape[:2]
        drawn = torch.rand(count, 3 + channels, generator=generator, device=clean.device) * 2 - 1
        angle, wide, high, *_ = (self.distort * drawn).unbind(dim=1)
        zero = torch.zeros_like(angle)
        across = torch.stack([angle.cos() * (1 + wide), -angle.sin(), zero], dim=1)
        down = torch.stack([angle.sin(), angle.cos() * (1 + high), zero], dim=1)
        places = F.affine_grid(torch.stack([across, down], dim=1), list(clean.shape), align_corners=False)
        moved = F.grid_sample(clean, places, mode="bicubic", padding_mode="reflection", align_corners=False)
        contrast = 1 + self.distort * drawn[:, 3:, None, None]
        mean = moved.mean(dim=(2, 3), keepdim=True)
        return (mean + contrast * (moved - mean)).clamp(0.0, 1.0).contiguous(memory_format=torch.channels_last)
