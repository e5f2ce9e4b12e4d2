"""The image of a family that the smoothed classifier is least confident about, by a search over its parameters."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Final

import numpy as np
import torch
from torch import Tensor

from dsmooth.audit.pgd import Draw
from dsmooth.images.pixels import Pixels
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.threats.base import Threat

__all__ = ["worst_parameters"]

_FAR: Final = 0.5  # of the tries look anywhere, the others near the worst so far


def worst_parameters(
    logits: Callable[[Tensor], Tensor],
    threat: Threat,
    pixels: Pixels,
    label: int,
    draw: Draw,
    *,
    tries: int,
    draws: int,
    seed: int,
) -> tuple[float, ...]:
    """The parameters, of `tries` tried ones, at which the mean probability of the label under noise is least.

    `logits` are those of the base classifier, denoiser included. The ends of the ranges are tried first, then any
    parameters, then some ever nearer to the worst so far.
    """
    chance = np.random.default_rng(seed)
    worst, least = tuple(low for low, _ in threat.ranges), np.inf
    ends = list(product(*threat.ranges))
    for step in range(max(tries, len(ends))):
        far = step < _FAR * tries
        tried = ends[step] if step < len(ends) else _drawn(threat, chance, None if far else worst, 1 - step / tries)
        moved = threat.apply(pixels, *tried)
        x = torch.from_numpy(moved.transpose(2, 0, 1).copy()).float().div_(LEVELS)
        noise = torch.from_numpy(np.ascontiguousarray(draw(draws).transpose(0, 3, 1, 2))).float()
        with torch.inference_mode():
            probability = float(logits(x + noise).softmax(dim=1)[:, label].mean())
        if probability < least:
            worst, least = tried, probability
    return worst


def _drawn(
    threat: Threat, chance: np.random.Generator, near: tuple[float, ...] | None, share: float
) -> tuple[float, ...]:
    """Parameters from anywhere, or from a share of their ranges around others."""

    def one(i: int, low: float, high: float) -> float:
        width = share * (high - low) / 2
        value = chance.uniform(low, high) if near is None else near[i] + chance.uniform(-width, width)
        value = min(max(value, low), high)
        return round(value) if threat.whole else value

    return tuple(one(i, low, high) for i, (low, high) in enumerate(threat.ranges))
