"""How good denoised images are: against the clean ones, and in the eyes of classifiers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsmooth.denoisers.base import Denoiser
from dsmooth.images import LabelledImage
from dsmooth.training.loop import Scores, generator
from dsmooth.training.surrogates import Surrogate

__all__ = ["HeldOut", "psnr"]

_LARGEST = 224  # pixels: images are judged on their upper left square of at most this side
_AT_ONCE = 250 * 32 * 32  # pixels


def psnr(denoised: Tensor, clean: Tensor) -> float:
    """Mean peak signal to noise ratio in dB of images (B, C, H, W) in [0, 1], the estimates clipped to that range."""
    errors = ((denoised.float().clamp(0.0, 1.0) - clean) ** 2).mean(dim=(1, 2, 3)).double()
    return float((-10.0 * errors.log10()).mean())


class HeldOut:
    """Images that take no part in the training, on the device, and the same noise for them every time."""

    def __init__(self, images: Sequence[LabelledImage], seed: int, device: torch.device) -> None:
        self._seed, self._device = seed, device
        cut = [(image.pixels[:_LARGEST, :_LARGEST], image.label) for image in images]
        self._batches: list[tuple[Tensor, Tensor | None]] = []
        for _, group in groupby(cut, key=lambda pair: pair[0].shape):
            same = list(group)
            size = max(1, _AT_ONCE // (same[0][0].shape[0] * same[0][0].shape[1]))
            for i in range(0, len(same), size):
                pixels = np.stack([pixels for pixels, _ in same[i : i + size]]).transpose(0, 3, 1, 2)
                labels = [label for _, label in same[i : i + size]]
                self._batches.append(
                    (
                        torch.from_numpy(np.ascontiguousarray(pixels)).to(device),
                        None if None in labels else torch.tensor(labels, device=device),
                    )
                )

    def noisy(self, sigma: float) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Batches of noisy images, clean ones in [0, 1], and labels where all are known."""
        for i, (pixels, labels) in enumerate(self._batches):
            clean = pixels.float() / 255
            noise = torch.randn(clean.shape, generator=generator(self._device, self._seed, i), device=self._device)
            yield clean + sigma * noise, clean, labels

    def scores(
        self,
        denoiser: Denoiser,
        sigmas: Sequence[float],
        surrogates: Sequence[Surrogate],
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> Scores:
        """PSNR in dB by sigma, and for each surrogate the share of right answers on one noisy draw of each image.

        Where labels are unknown it is the share of answers that agree with the surrogate's own on the clean image.
        """
        quality: dict[str, float] = {}
        accuracy: dict[str, dict[str, float]] = {surrogate.name: {} for surrogate in surrogates}
        for sigma in sigmas:
            values: list[float] = []
            right = torch.zeros(len(surrogates), device=self._device)
            count = 0
            for noisy, clean, labels in self.noisy(sigma):
                with torch.inference_mode(), autocast():
                    denoised = denoiser.denoise(noisy, sigma)
                    answers = [
                        (s.network(denoised).argmax(1), s.network(clean).argmax(1) if labels is None else labels)
                        for s in surrogates
                    ]
                values += [psnr(denoised, clean)] * len(clean)
                count += len(clean)
                for k, (answer, truth) in enumerate(answers):
                    right[k] += (answer == truth).sum()
            if count:  # a single image is trained on, not held out
                quality[f"{sigma:g}"] = round(math.fsum(values) / count, 3)
                for surrogate, share in zip(surrogates, (right / count).tolist(), strict=True):
                    accuracy[surrogate.name][f"{sigma:g}"] = round(share, 4)
        return {"psnr": quality, "accuracy": accuracy} if surrogates else {"psnr": quality}
