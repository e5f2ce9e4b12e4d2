"""Projected gradient ascent through denoiser and classifier, in expectation over the noise (SmoothAdv).

    delta <- project(delta + a * direction of grad_x -log mean_k softmax(f(x + delta + eps_k))_y)

Source: Salman et al. 2019 (arXiv 1906.04584), section 3; Madry et al. 2018 for the steps. The noise is drawn anew for each
step, so that the attack is on the smoothed classifier and not on one draw of noise. Where a place among the first few was
promised, the loss is how far the last of these places is ahead: log mean_k p_(rival number `top`) - log mean_k p_y.
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
from dsmooth.images.pixels import Pixels
from dsmooth.theory.bounds import check_count
from dsmooth.theory.grid import LEVELS

__all__ = ["Ascent", "Draw", "no_noise"]

_LONG = 2.5  # the steps together are so many times as long as the radius
_TINY = 1e-12
_SPARSE = 0.01  # of the coordinates move in a step in l1 (Tramer and Boneh 2019, section 3.2)

Draw = Callable[[int], npt.NDArray[Any]]
"""How many -> so many draws of the noise (draws, H, W, C), pixels in [0, 1]."""


def no_noise(draws: int) -> npt.NDArray[Any]:
    """For an attack on the base classifier itself."""
    return np.zeros((1, 1, 1, 1), dtype=np.float32)


@dataclass(frozen=True)
class Ascent:
    """How an attack looks for another answer: `steps` steps, each along the mean gradient over `draws` noise samples."""

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
        draw: Draw,
        *,
        norm: float,
        radius: float,
        seed: int,
        spread: npt.NDArray[np.float64] | None = None,
        top: int = 1,
    ) -> npt.NDArray[Any]:
        """A perturbation (H, W, C) in the scale [0, 1] within the radius, that lowers the probability of the label.

        With `top` above 1, against that of its rival number `top`: the label then leaves the first so many places.

        `logits` are those of the base classifier, denoiser included. `spread`: further images (m, H, W, C) to move along, in
        l2; their coefficients and the pixels are within the radius together.
        """
        if norm not in (1.0, 2.0, float("inf")):
            raise BadParameter(f"expected an attack in the norm 1, 2 or inf, got {norm:g}")
        chance = torch.Generator().manual_seed(seed)
        x = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div_(LEVELS)
        images = (
            torch.zeros((0, *x.shape)) if spread is None else torch.from_numpy(spread.transpose(0, 3, 1, 2)).float()
        )
        further = images.flatten(1)

        def change(z: Tensor) -> Tensor:
            """The perturbation of pixels and coefficients, one after the other in z."""
            return (z[: x.numel()] + z[x.numel() :] @ further).view(x.shape)

        z = _project(torch.randn(x.numel() + len(further), generator=chance), norm, 0.1 * radius)
        for _ in range(self.steps):
            z = z.detach().requires_grad_(True)
            noise = torch.from_numpy(np.ascontiguousarray(draw(self.draws).transpose(0, 3, 1, 2))).float()
            # of the mean over the draws, but for a constant
            log_probabilities = logits(x + change(z) + noise).log_softmax(dim=1).logsumexp(dim=0)
            loss = -log_probabilities[label]
            if top > 1:
                rivals = torch.cat([log_probabilities[:label], log_probabilities[label + 1 :]])
                loss = loss + rivals.topk(top).values[-1]
            (gradient,) = torch.autograd.grad(loss, z)
            if norm == 1.0:  # few coordinates share the step: none of them may be one that cannot move
                at = (x + change(z)).detach().flatten()
                gradient = gradient * torch.where(gradient > 0, at < 1.0, at > 0.0)
            moved = z.detach() + _LONG * radius / self.steps * _steepest(gradient, norm)
            z = _project(moved, norm, radius)
            # with further images what is clipped costs more than it gives: whoever rounds the attack shortens it
            if spread is None:
                z = (x.flatten() + z).clamp_(0.0, 1.0) - x.flatten()
        return change(z).detach().numpy().transpose(1, 2, 0)


def _steepest(gradient: Tensor, norm: float) -> Tensor:
    """A step of length 1 in this norm that raises the loss; in l1 along the largest hundredth of the gradient."""
    if norm == 2.0:
        return gradient / (gradient.norm() + _TINY)
    if norm == 1.0:
        sizes = gradient.abs().flatten()
        kept = max(1, int(_SPARSE * sizes.numel()))
        direction = gradient.sign() * (gradient.abs() >= sizes.topk(kept).values[-1])
        return direction / (direction.abs().sum() + _TINY)
    return gradient.sign()


def _project(delta: Tensor, norm: float, radius: float) -> Tensor:
    """The nearest perturbation within the radius (in l1: Duchi et al. 2008)."""
    if norm == 2.0:
        return delta * min(1.0, radius / (float(delta.norm()) + _TINY))
    if norm == 1.0:
        sizes = delta.abs().flatten()
        if float(sizes.sum()) <= radius:
            return delta
        falling = sizes.sort(descending=True).values
        excess = (falling.cumsum(0) - radius) / torch.arange(1, len(falling) + 1)
        shrink = excess[int((falling > excess).sum()) - 1]
        return delta.sign() * (delta.abs() - shrink).clamp_(min=0.0)
    return delta.clamp(-radius, radius)
