"""A denoiser measured on images: quality, what a classifier makes of its answers, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dsmooth.backends.eager import Eager
from dsmooth.classifiers.base import Classifier
from dsmooth.denoisers.base import Denoise
from dsmooth.errors import BadImage, require
from dsmooth.images.sets import ImageSet
from dsmooth.training.judging import PSNR, Judged, psnr

__all__ = ["Measurement", "measure", "picture_strip"]

_WINDOW = 7  # pixels a side: what SSIM looks at
_GAP = 2  # pixels between the images of a strip
_BAND = 16  # pixels: height of a line of text in it
_HEADINGS = ("clean", "noisy", "denoised", "residual")


@dataclass(frozen=True)
class Measurement:
    """Means over images at one sigma, of the noisy images or of the denoised ones.

    psnr in dB, estimates clipped to [0, 1]; ssim of Wang et al. 2004; accuracy of the classifier on one noisy draw of
    each image, 0 to 1, None without classifier (where a label is unknown, right is its own answer on the clean image).
    """

    sigma: float
    denoised: bool
    psnr: float
    ssim: float
    accuracy: float | None


def measure(
    denoise: Denoise,
    images: ImageSet,
    sigmas: Sequence[float],
    classifier: Classifier | None = None,
    *,
    seed: int = 0,
    on_row: Callable[[Measurement], None] = lambda row: None,
) -> list[Measurement]:
    """Noisy and denoised, at each sigma, with the same noise; only the upper left 224 x 224 pixels of larger images."""
    similarity = require("skimage.metrics", "denoise").structural_similarity

    def ssim(denoised: Tensor, clean: Tensor) -> float:
        pairs = zip(denoised.float().clamp(0.0, 1.0).numpy(), clean.numpy(), strict=True)
        return float(np.mean([similarity(a, b, win_size=_WINDOW, channel_axis=0, data_range=1.0) for a, b in pairs]))

    for image in images:
        if min(image.pixels.shape[:2]) < _WINDOW:
            raise BadImage(f"{image.name}: expected at least {_WINDOW} x {_WINDOW} pixels for SSIM")
    judged = Judged(list(images), seed, torch.device("cpu"))
    answers = {} if classifier is None else {"classifier": classifier.prepared(Eager("fp32", 1))}
    rows = []
    for sigma in sigmas:
        for denoised, function in ((False, _unchanged), (True, denoise)):
            with torch.inference_mode():
                qualities, shares = judged.score(function, sigma, answers, {**PSNR, "ssim": ssim})
            row = Measurement(sigma, denoised, qualities["psnr"], qualities["ssim"], shares.get("classifier"))
            rows.append(row)
            on_row(row)
    return rows


def picture_strip(
    denoise: Denoise, images: ImageSet, sigmas: Sequence[float], *, seed: int = 0, scale: int = 1
) -> Image.Image:
    """A row for each image and sigma: clean, noisy, denoised, and the residual (denoised - clean) around mid-grey.

    Above each row stand sigma and the PSNR of its images, above all of them what they are. All images must have one size;
    `scale` repeats every pixel so many times a side.
    """
    judged = Judged(list(images), seed, torch.device("cpu"))
    rows: list[npt.NDArray[np.uint8]] = []
    for sigma in sigmas:
        for noisy, clean, _ in judged.batches(sigma):
            with torch.inference_mode():
                denoised = denoise(noisy, sigma).float()
            for parts in zip(clean, noisy, denoised, 0.5 + denoised - clean, strict=True):
                row = np.concatenate([_framed(part, scale) for part in parts], axis=1)
                heard = [f"{psnr(part[None], parts[0][None]):.1f} dB" for part in parts[1:3]]
                rows += [_band([f"sigma {sigma:g}", *heard, ""], row), row]
    strip = np.concatenate([_band(_HEADINGS, rows[1]), *rows])
    return Image.fromarray(strip[:, :, 0] if strip.shape[2] == 1 else strip)


def _unchanged(noisy: Tensor, sigma: float) -> Tensor:
    return noisy


def _band(texts: Sequence[str], row: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A line of text above each of the tiles of a row, as wide as it and with as many channels."""
    tile = row.shape[1] // len(texts)
    band = Image.new("L", (row.shape[1], _BAND), 255)
    for i, text in enumerate(texts):
        written = Image.new("L", (tile, _BAND), 255)  # what is too long for its tile is cut off
        ImageDraw.Draw(written).text((0, 0), text, fill=0, font=ImageFont.load_default(_BAND - 4))
        band.paste(written, (i * tile, 0))
    return np.repeat(np.asarray(band)[:, :, None], row.shape[2], axis=2)


def _framed(image: Tensor, scale: int) -> npt.NDArray[np.uint8]:
    pixels = (image.clamp(0.0, 1.0) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    large = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    return np.pad(large, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
