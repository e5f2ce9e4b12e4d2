"""Illustrations beside certificates: noisy and denoised copies, and the classifier alone. Nothing here is a vote."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsmooth.backends.eager import Eager
from dsmooth.classifiers.base import Classifier
from dsmooth.images.pixels import Pixels
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.pipeline import Pipeline, denoiser_at
from dsmooth.smoothing.sources.base import Rows
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.laws.base import Law
from dsmooth.theory.votes import Label

__all__ = ["Alone", "copies", "pixels_of"]

_CPU = torch.device("cpu")


class Alone:
    """A classifier by itself, without noise and denoiser, in fp32 on the CPU: its answers are not certified."""

    def __init__(self, classifier: Classifier) -> None:
        self._pipeline = Pipeline(classifier, None, 0.0, Eager("fp32", 1))

    def answer(self, pixels: Pixels) -> Label | None:
        """What it calls an image (H, W, C); None where its answer is not usable. Raises BadModel as Pipeline does."""
        return self._pipeline.labels(Rows(pixels[None].astype(np.int16)))[0]


def copies(law: Law, denoiser: Any, pixels: Pixels, sample: Chunk) -> tuple[Pixels, Pixels | None]:
    """The noisy copy of an image that this one sample is, and the same denoised (None without a denoiser), in fp32."""
    noisy = source_of(law).noisy([(pixels, sample)], 1).images(_CPU)
    denoise = denoiser_at(denoiser, law.level)
    with torch.inference_mode():
        return pixels_of(noisy), None if denoise is None else pixels_of(denoise(noisy))


def pixels_of(images: Tensor) -> Pixels:
    """The first of the images (B, C, H, W), clipped to [0, 1], as bytes (H, W, C)."""
    shown = images[0].float().clamp(0.0, 1.0).permute(1, 2, 0).cpu().numpy()
    return np.rint(shown * 255).astype(np.uint8)
