"""The quality of denoised images: compared with the clean ones, and by the accuracy of classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

import numpy as np
import torch
from torch import Tensor

from dsmooth.classifiers.base import LabelFunction
from dsmooth.denoisers.base import Denoise
from dsmooth.images.sets import LabelledImage
from dsmooth.training.corruptions import CORRUPTIONS, Corrupt
from dsmooth.training.loop import Scores, generator

__all__ = ["HEAD", "LARGEST", "PSNR", "Judged", "psnr"]

LARGEST: Final = 224
"""Pixels a side of what is judged, where nothing else is said."""

HEAD: Final = "head"
"""The name under which the accuracy of a denoiser's own class head is told."""

_AT_ONCE = 250 * 32 * 32  # pixels


Quality = Callable[[Tensor, Tensor], float]
"""Denoised, clean (B, C, H, W) -> the mean over the images."""


def psnr(denoised: Tensor, clean: Tensor) -> float:
    """Mean peak signal to noise ratio in dB of images (B, C, H, W) in [0, 1], the estimates clipped to that range."""
    errors = ((denoised.float().clamp(0.0, 1.0) - clean) ** 2).mean(dim=(1, 2, 3)).double()
    return float((-10.0 * errors.log10()).mean())


PSNR: Final[Mapping[str, Quality]] = {"psnr": psnr}


class Judged:
    """Images to judge a denoiser on, on the device, with the same noise for each every time.

    Of images with a side of more than `largest` pixels the upper left square is taken.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        seed: int,
        device: torch.device,
        largest: int = LARGEST,
        corrupt: Corrupt = CORRUPTIONS["gaussian"],
    ) -> None:
        self._seed, self._device, self._corrupt = seed, device, corrupt
        cut = [(image.pixels[:largest, :largest], image.label) for image in images]
        self._batches: list[tuple[Tensor, list[int | None]]] = []
        for _, group in groupby(cut, key=lambda pair: pair[0].shape):
            same = list(group)
            size = max(1, _AT_ONCE // (same[0][0].shape[0] * same[0][0].shape[1]))
            for i in range(0, len(same), size):
                pixels = np.stack([pixels for pixels, _ in same[i : i + size]]).transpose(0, 3, 1, 2)
                labels = [label for _, label in same[i : i + size]]
                self._batches.append((torch.from_numpy(np.ascontiguousarray(pixels)).to(device), labels))

    def batches(self, sigma: float) -> Iterator[tuple[Tensor, Tensor, list[int | None]]]:
        """Batches of noisy images, clean ones in [0, 1], and labels."""
        for i, (pixels, labels) in enumerate(self._batches):
            clean = pixels.float() / 255
            level = torch.full((len(clean), 1, 1, 1), sigma, device=self._device)
            yield self._corrupt(clean, level, generator(self._device, self._seed, i)), clean, labels

    def score(
        self,
        denoise: Denoise,
        sigma: float,
        classifiers: Mapping[str, LabelFunction],
        qualities: Mapping[str, Quality] = PSNR,
    ) -> tuple[dict[str, float], dict[str, float]]:
        """The mean of each quality, and for each classifier the share of right answers on one noisy draw of each image.

        Where a label is unknown, right is what the classifier says of the clean image.
        """
        sums, right = dict.fromkeys(qualities, 0.0), dict.fromkeys(classifiers, 0)
        count = 0
        for noisy, clean, labels in self.batches(sigma):
            denoised = denoise(noisy, sigma)
            count += len(clean)
            for name, quality in qualities.items():
                sums[name] += quality(denoised, clean) * len(clean)
            for name, answer in classifiers.items():
                own = answer(clean) if None in labels else labels
                truth = [k if label is None else label for label, k in zip(labels, own, strict=True)]
                right[name] += sum(a == t for a, t in zip(answer(denoised), truth, strict=True))
        return {name: value / count for name, value in sums.items()}, {name: k / count for name, k in right.items()}

    def accuracy(self, recognise: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], sigma: float) -> float:
        """The share of noisy images, all labelled, whose class a denoiser's own head names."""
        right = count = 0
        for noisy, _, labels in self.batches(sigma):
            _, logits = recognise(noisy, torch.full((len(noisy),), sigma, device=noisy.device))
            right += sum(a == b for a, b in zip(logits.argmax(dim=1).tolist(), labels, strict=True))
            count += len(labels)
        return right / count

    def scores(
        self,
        denoise: Denoise,
        sigmas: Sequence[float],
        classifiers: Mapping[str, LabelFunction],
        recognise: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Scores:
        """`score` by sigma, rounded, as it is written down; nothing where there is no image.

        recognise: the denoiser with the logits of its class head, whose accuracy is told beside those of classifiers.
        """
        names = [*classifiers, *([] if recognise is None else [HEAD])]
        found: Scores = {"psnr": {}, **({"accuracy": {name: {} for name in names}} if names else {})}
        for sigma in sigmas if self._batches else ():  # a single image is trained on, not held out
            qualities, shares = self.score(denoise, sigma, classifiers)
            found["psnr"][f"{sigma:g}"] = round(qualities["psnr"], 3)
            for name, share in shares.items():
                found["accuracy"][name][f"{sigma:g}"] = round(share, 4)
            if recognise is not None:
                found["accuracy"][HEAD][f"{sigma:g}"] = round(self.accuracy(recognise, sigma), 4)
        return found
