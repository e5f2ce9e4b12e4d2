"""Muon: momentum whose matrices are made orthogonal, for the weights inside a network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Muon", "orthogonal"]

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # takes singular values from (0, 1] to about 1 in a few rounds (Jordan et al.)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """The optimiser of Jordan et al. 2024 for matrices and convolutions; weights decay apart from the gradient.

    A step moves each weight by its Nesterov momentum, made orthogonal and scaled so that its root mean square is .2, as
    AdamW's typically is (Liu et al. 2025): one learning rate serves both.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1.0 - group["momentum"])
                ahead = weight.grad.lerp(mean, group["momentum"]).flatten(1)
                size = 0.2 * max(ahead.shape) ** 0.5
                weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(ahead).view(weight.shape), alpha=-group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix whose singular values are 1 (they end between .6 and 1.3), in bfloat16."""
    a, b, c = _POLYNOMIAL
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
