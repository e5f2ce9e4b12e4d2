"""The contract that every denoiser keeps."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dsmooth.errors import BadModel
from dsmooth.records.digests import canonical_json, digest_arrays

__all__ = ["Denoise", "Denoiser"]

Denoise = Callable[[Tensor, float], Tensor]
"""Noisy images (B, C, H, W) in the scale [0, 1] and their sigma -> clean ones."""


class Denoiser(nn.Module, ABC):
    """A network that estimates the clean image from the image plus Gaussian noise.

    A subclass writes `forward`; callers use `denoise`, which checks what came back. Shapes: x and the answer are
    (B, C, H, W) with pixels in the scale [0, 1], noise added and not clipped; sigma is (B,) in the same scale.
    """

    architecture: ClassVar[str]
    """The name under which weights.py finds the class again."""

    blind: ClassVar[bool] = False
    """True where the network ignores sigma, and so serves only the range that it was trained for."""

    in_torch: ClassVar[bool] = True
    """False where it computes elsewhere: it is called as it is, whatever runs the networks."""

    channels: int = 3
    sigma_range: tuple[float, float] | None = None
    """Smallest and largest sigma that it was trained for; None where that is unknown."""

    data: str = "unknown"
    """What it was trained on, and under which terms, in words."""

    metrics: Mapping[str, Any] = MappingProxyType({})
    """What was measured, and the recipe, where it is known."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this architecture again (JSON values)."""

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The estimate of the clean image, (B, C, H, W)."""

    def check(self, x: Tensor) -> None:
        """Raises BadModel where images of this shape are not what the network takes."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise BadModel(
                f"this {self.architecture} denoiser expects images of {self.channels} channels as (B, C, H, W), "
                f"got shape {tuple(x.shape)}; use a denoiser for {x.shape[1] if x.ndim == 4 else 'those'} channels, or none"
            )

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The estimate of the clean image, same shape as x; raises BadModel where the network does not fit."""
        self.check(x)
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(x.shape[0])
        clean = self.forward(x, level)
        if clean.shape != x.shape:
            raise BadModel(f"{self.architecture} turned shape {tuple(x.shape)} into {tuple(clean.shape)}")
        return clean

    @staticmethod
    def from_pretrained(name: Path | str, *, revision: str | None = None) -> Denoiser:
        """The denoiser of that shipped name, folder, file or Hub repository ("owner/name"), in eval mode.

        Folders, files and shipped names need no network. Raises BadModel for anything else; never unpickles.
        """
        from dsmooth.denoisers import pretrained

        return pretrained.from_pretrained(name, revision)

    def save_pretrained(
        self,
        folder: Path | str,
        *,
        data: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        license: str | None = None,
    ) -> Path:
        """`folder` holds model.safetensors (float16), config.json and a model card README.md; answers with the folder.

        data, metrics: what the card says; what the denoiser was loaded with by default. license: of the weights, as the
        Hub names it ("mit").
        """
        from dsmooth.denoisers import pretrained

        return pretrained.save_pretrained(self, folder, data=data, metrics=metrics, license=license)

    def push_to_hub(self, repository: str, *, private: bool = False, **card: Any) -> str:
        """The address of what save_pretrained wrote (`card`: its arguments), on the Hub as "owner/name"."""
        from dsmooth.denoisers import pretrained

        with tempfile.TemporaryDirectory() as folder:
            return pretrained.push_to_hub(self.save_pretrained(folder, **card), repository, private=private)

    def digest(self) -> str:
        """SHA-256 of architecture, configuration and weights: changes when one bit of the function changes."""
        kind = f"denoiser {self.architecture} {canonical_json(self.config)}"
        weights = ((key, value) for key, value in self.state_dict().items() if value.is_floating_point())
        return digest_arrays(kind, ((key, value.cpu().numpy()) for key, value in weights))  # counters decide nothing
