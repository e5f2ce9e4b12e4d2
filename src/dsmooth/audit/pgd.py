"""Projected gradient ascent through denoiser and classifier, in expectation over the noise (SmoothAdv).

    delta <- project(delta + a * direction of grad_x -log mean_k softmax(f(x + delta + eps_k))_y)

Source: Salman et al. 2019 (arXiv 1906.04584), section 3; Madry et al. 2018 for the steps. The noise is drawn anew for each
step, so that the attack is on the smoothed classifier and not on one draw of noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmooth.errors import BadParameter
from dsmooth.images import Pixels
from dsmooth.theory.bounds import check_count
from dsmooth.theory.grid import LEVELS

__all__ = ["Ascent"]

_LONG = 2.5  # the steps together are so many times as long as the radius
_TINY = 1e-12


@dataclass(frozen=True)
class Ascent:
    """How an attack looks for another answer: `steps` steps, each from the mean over `draws` draws of the noise."""

    steps: int = 20
    draws: int = 8

    def __post_init__(self) -> None:
        check_count(self.steps, "steps")
        check_count(self.draws, "draws")

    def attack(
        self,
        logits: Callable[[Tensor], Tensor],
        pixels: Pixels,
        label: int,
        sigma: float,
        norm: float,
        radius: float,
        seed: int,
    ) -> npt.NDArray[Any]:
        """A perturbation (H, W, C) in the scale [0, 1] within the radius, that lowers the probability of the label.

        `logits` are those of the base classifier, denoiser included; sigma 0 attacks it without noise.
        """
        if norm not in (2.0, float("inf")):
            raise BadParameter(f"expected an attack in the norm 2 or inf, got {norm:g}")
        chance = torch.Generator().manual_seed(seed)
        x = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div_(LEVELS)
        delta = _project(torch.randn(x.shape, generator=chance), norm, 0.1 * radius)
        draws = self.draws if sigma else 1
        target = torch.full((draws,), label)
        for _ in range(self.steps):
            delta = delta.detach().requires_grad_(True)
            noise = sigma * torch.randn((draws, *x.shape), generator=chance)
            log_probabilities = logits(x + delta + noise).log_softmax(dim=1)
            picked = log_probabilities.gather(1, target[:, None])
            loss = np.log(draws) - picked.logsumexp(dim=0).sum()
            (gradient,) = torch.autograd.grad(loss, delta)
            direction = gradient.sign() if norm != 2.0 else gradient / (gradient.norm() + _TINY)
            moved = delta.detach() + _LONG * radius / self.steps * direction
            delta = (x + _project(moved, norm, radius)).clamp_(0.0, 1.0) - x
        return delta.detach().numpy().transpose(1, 2, 0)


def _project(delta: Tensor, norm: float, radius: float) -> Tensor:
    if norm != 2.0:
        return delta.clamp(-radius, radius)
    return delta * min(1.0, radius / (float(delta.norm()) + _TINY))
