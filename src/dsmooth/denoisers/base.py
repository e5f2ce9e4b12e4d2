"""The contract of denoisers."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from dsmooth.denoisers import hub, loading, saving
from dsmooth.errors import BadModel
from dsmooth.records.digests import canonical_json, digest_arrays

__all__ = ["Denoise", "Denoiser"]

Denoise = Callable[[Tensor, float], Tensor]
"""Noisy images (B, C, H, W) in the scale [0, 1] and their sigma -> clean ones."""


class Denoiser(nn.Module, ABC):
    """A network that estimates the clean image from the image plus Gaussian noise.

    A subclass implements `forward`; callers use `denoise`, which checks the result. x and the result are (B, C, H, W) with
    pixels in the scale [0, 1], noise added and not clipped; sigma is (B,) in the same scale.
    """

    architecture: ClassVar[str]
    """The name of the class in names.py."""

    blind: ClassVar[bool] = False
    """True if the network ignores sigma, and so only fits the range that it was trained for."""

    by_noise: ClassVar[bool] = False
    """True if some of its weights are for some noise levels only: see `at`."""

    in_torch: ClassVar[bool] = True
    """False if it does not run in a backend: it is then called as it is."""

    name: str | None = None
    """The name it was loaded by, without folders; for information only."""

    channels: int = 3
    sigma_range: tuple[float, float] | None = None
    """Smallest and largest sigma that it was trained for; None if unknown."""

    data: str = "unknown"
    """Its training data and their licence, in words."""

    metrics: Mapping[str, Any] = MappingProxyType({})
    """Measurements and the training recipe, if known."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this architecture again (JSON values)."""

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The estimate of the clean image, (B, C, H, W)."""

    def at(self, sigma: float) -> Denoiser:
        """The network for this noise level: itself, unless some of its weights are for other levels only."""
        return self

    def check(self, x: Tensor) -> None:
        """Raises BadModel if the network does not take images of this shape."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise BadModel(
                f"this {self.architecture} denoiser expects images of {self.channels} channels as (B, C, H, W), "
                f"got shape {tuple(x.shape)}; use a denoiser for {x.shape[1] if x.ndim == 4 else 'those'} channels, or none"
            )

    @classmethod
    def config_of(cls, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
        """The configuration that fits the array shapes of a file without description; None where none is known to fit."""
        return None

    @final
    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The estimate of the clean image, floating point, same shape as x; raises BadModel if the network does not fit."""
        self.check(x)
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(x.shape[0])
        clean: Any = self.forward(x, level)
        if not isinstance(clean, Tensor) or clean.shape != x.shape or not clean.is_floating_point():
            got = f"{clean.dtype} {tuple(clean.shape)}" if isinstance(clean, Tensor) else type(clean).__name__
            raise BadModel(f"{self.architecture} turned {x.dtype} {tuple(x.shape)} into {got}: expected the same shape")
        return clean

    @staticmethod
    def from_pretrained(name: Path | str, *, revision: str | None = None) -> Denoiser:
        """The denoiser of that shipped name, folder, file or Hub repository ("owner/name"), in eval mode.

        Folders, files and shipped names need no network. Raises BadModel for anything else; never unpickles.
        """
        return loading.from_pretrained(name, revision)

    def save_pretrained(
        self,
        folder: Path | str,
        *,
        data: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        license: str | None = None,
    ) -> Path:
        """`folder` holds model.safetensors (float16), config.json and a model card README.md; answers with the folder.

        data, metrics: for the model card; by default those that the denoiser was loaded with. license: of the weights, by
        the Hub's name ("mit").
        """
        return saving.save_folder(self, folder, data=data, metrics=metrics, license=license)

    def push_to_hub(self, repository: str, *, private: bool = False, **card: Any) -> str:
        """Uploads what save_pretrained writes (`card`: its arguments) to the Hub as "owner/name"; returns the address."""
        with tempfile.TemporaryDirectory() as folder:
            return hub.push_folder(self.save_pretrained(folder, **card), repository, private=private)

    def digest(self) -> str:
        """SHA-256 of architecture, configuration and weights: changes when one bit of the function changes."""
        kind = f"denoiser {self.architecture} {canonical_json(self.config)}"
        weights = ((key, value) for key, value in self.state_dict().items() if value.is_floating_point())
        return digest_arrays(kind, ((key, value.cpu().numpy()) for key, value in weights))  # counters decide nothing
