"""Diffusion models and their relatives as denoisers: one evaluation, at the time whose noise is sigma."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.backends.networks import digest_module
from dsmooth.denoisers.base import Denoiser
from dsmooth.errors import BadModel, BadParameter

__all__ = ["Diffusion", "Prediction"]

Prediction = Literal["epsilon", "v_prediction", "sample", "edm", "denoised", "flow", "score"]
"""What the network answers; see Diffusion."""

_DISCRETE: Final = ("epsilon", "v_prediction", "sample")


class Diffusion(Denoiser):
    """A diffusion model, evaluated once to estimate the clean image (Carlini et al. 2023).

    These networks use images x in [-1, 1], so noise of sigma in [0, 1] is s = 2 sigma to them; their input is z = 2y - 1.
    `network` maps (B, C, H, W) and a time (B,) to an output, of which the first C channels count (some also predict a
    variance). By `prediction`:

    epsilon, v_prediction, sample: the noise (Ho et al. 2020), v (Salimans and Ho 2022) or x itself, from
        sqrt(abar_t) z at the first time t (0-based) with sqrt((1 - abar_t) / abar_t) >= s; `alphas` are the products
        abar_0 > abar_1 > ..., `alphas_cumprod` elsewhere.
    edm: F of Karras et al. 2022 (table 1), with `spread` as their sigma_data; its time is ln(s) / 4.
    denoised: x itself, from z and the time s: D of Karras et al., and what k-diffusion wraps every model into.
    flow: the velocity noise - x, from (1 - t) z at t = s / (1 + s) (rectified flow, Liu et al. 2023).
    score: the gradient of the log-density, from z and the time s (Song et al. 2021, variance exploding).

    A wrong time makes worse estimates, never wrong certificates: the proof only needs the denoiser to be a function. Sides
    are padded by reflection to a multiple of `multiple`, then cropped.
    """

    architecture: ClassVar[str] = "diffusion"

    levels: Tensor
    """(T,) noise in units of the image, by time; with `roots` and `rests`, the square roots of alphas and 1 - alphas."""
    roots: Tensor
    rests: Tensor

    def __init__(
        self,
        network: nn.Module,
        prediction: Prediction,
        *,
        alphas: Sequence[float] | Tensor | None = None,
        spread: float = 0.5,
        channels: int = 3,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        if prediction not in get_args(Prediction):
            raise BadParameter(f"expected a prediction as one of {', '.join(get_args(Prediction))}, got {prediction!r}")
        self.network, self.prediction, self.spread = network, prediction, spread
        self.channels, self.multiple = channels, multiple
        if prediction in _DISCRETE:
            products = torch.as_tensor([] if alphas is None else alphas, dtype=torch.float64)
            if products.ndim != 1 or len(products) == 0 or not bool(((products > 0) & (products < 1)).all()):
                raise BadParameter(f"{prediction} needs the products alphas, each between 0 and 1")
            if not bool((products.diff() < 0).all()):
                raise BadParameter("expected alphas as cumulative products, which fall")
            levels = ((1 - products) / products).sqrt()
            self.sigma_range = (float(levels[0]) / 2, float(levels[-1]) / 2)
            for name, values in (("levels", levels), ("roots", products.sqrt()), ("rests", (1 - products).sqrt())):
                self.register_buffer(name, values.float())

    @property
    def config(self) -> dict[str, Any]:
        return {"prediction": self.prediction, "spread": self.spread, "multiple": self.multiple}

    def digest(self) -> str:
        return digest_module(f"denoiser {super().digest()}", self.network)  # equal weights do not make equal networks

    def time(self, sigma: Tensor) -> Tensor:
        """The network's time for noise of sigma (B,); of discrete models the last where none has so much noise."""
        s = 2 * sigma
        if self.prediction in _DISCRETE:
            # counted, not searched: this can be traced, and goes through every backend
            return (self.levels < s[:, None]).sum(dim=1).clamp(max=len(self.levels) - 1)
        if self.prediction == "edm":
            return s.log() / 4
        return s / (1 + s) if self.prediction == "flow" else s

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        down, right = -height % self.multiple, -width % self.multiple
        if down >= height or right >= width:
            raise BadModel(f"expected images of more than {max(down, right)} pixels a side, got {height} x {width}")
        z = 2 * F.pad(x, (0, right, 0, down), mode="reflect") - 1
        return ((self._clean(z, sigma.to(x.dtype)) + 1) / 2)[..., :height, :width]

    def _clean(self, z: Tensor, sigma: Tensor) -> Tensor:
        time, s = self.time(sigma), (2 * sigma).view(-1, 1, 1, 1)
        if self.prediction in _DISCRETE:
            root, rest = (values[time].view(-1, 1, 1, 1).to(z.dtype) for values in (self.roots, self.rests))
            seen = root * z
            answer = self._answer(seen, time)
            if self.prediction == "epsilon":
                return (seen - rest * answer) / root
            return root * seen - rest * answer if self.prediction == "v_prediction" else answer
        if self.prediction == "edm":
            total = (s**2 + self.spread**2).sqrt()
            answer = self._answer(z / total, time)
            return z * (self.spread / total) ** 2 + answer * (s * self.spread / total)
        if self.prediction == "flow":
            t = time.view(-1, 1, 1, 1)
            seen = (1 - t) * z
            return seen - t * self._answer(seen, time)
        answer = self._answer(z, time)
        return z + s**2 * answer if self.prediction == "score" else answer

    def _answer(self, seen: Tensor, time: Tensor) -> Tensor:
        answer: Tensor = self.network(seen, time)
        return answer[:, : self.channels]
