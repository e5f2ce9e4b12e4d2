"""The optimisers that a plan names."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from dsmooth.training.muon import Muon
from dsmooth.training.plan import TrainingPlan

__all__ = ["optimizers"]


def optimizers(plan: TrainingPlan, weights: Iterable[nn.Parameter], fused: bool) -> list[torch.optim.Optimizer]:
    """The optimisers of a network's weights (in its own order); `plan.moving_at` says which of them move when."""
    weights, lr, decay = list(weights), plan.lr, plan.weight_decay
    if plan.optimizer == "muon":
        hidden = [weight for weight in weights if weight.ndim == 4][1:-1]  # but for the first and last convolution
        held = {id(weight) for weight in hidden}
        others = [weight for weight in weights if id(weight) not in held]
        muon = [Muon(hidden, lr=lr, weight_decay=decay)] if hidden else []
        return [*muon, torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.99), weight_decay=decay, fused=fused)]
    if plan.optimizer == "adamw":
        return [torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.99), weight_decay=decay, fused=fused)]
    adam = torch.optim.Adam(weights, lr=lr, weight_decay=decay, fused=fused)
    if plan.optimizer == "adam":
        return [adam]
    return [adam, torch.optim.SGD(weights, lr=lr, momentum=0.9, weight_decay=decay)]
