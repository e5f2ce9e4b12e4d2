"""Denoisers without weights, from scikit-image: baselines for training."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmooth.denoisers.base import Denoiser
from dsmooth.errors import require
from dsmooth.records.digests import digest_arrays

__all__ = ["NonLocalMeans", "TotalVariation"]


class _Untrained(Denoiser):
    """One image after the other, in float32 on the CPU; any number of channels. There is nothing to save."""

    in_torch: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        require("skimage.restoration", "denoise")  # complain now, not in the middle of a run

    @property
    def config(self) -> dict[str, Any]:
        return {}

    def check(self, x: Tensor) -> None:
        pass

    @abstractmethod
    def one(self, image: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[Any]:
        """The estimate of one clean image (C, H, W)."""

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        images = x.detach().to("cpu", torch.float32).numpy()
        clean = [self.one(image, level) for image, level in zip(images, sigma.tolist(), strict=True)]
        return torch.from_numpy(np.stack(clean).reshape(images.shape)).to(x)  # one channel comes back without its axis

    def digest(self) -> str:
        version = require("skimage", "denoise").__version__
        return digest_arrays(f"denoiser {self.architecture} of scikit-image {version}", ())


class TotalVariation(_Untrained):
    """Total variation (Chambolle 2004) with a weight of sigma: 0.75 to 2 sigma is best, the more the stronger the noise."""

    architecture: ClassVar[str] = "tv"

    def one(self, image: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[Any]:
        restoration = require("skimage.restoration", "denoise")
        return restoration.denoise_tv_chambolle(image, weight=sigma, channel_axis=0)


class NonLocalMeans(_Untrained):
    """Non-local means (Buades et al. 2005): patches of 5, a window of 13 pixels, cut-off 0.6 sigma."""

    architecture: ClassVar[str] = "nlm"

    def one(self, image: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[Any]:
        restoration = require("skimage.restoration", "denoise")
        return restoration.denoise_nl_means(
            image, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True, channel_axis=0
        )
