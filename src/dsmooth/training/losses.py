"""The losses that an objective weighs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.training.objectives import Objective

__all__ = ["adversarial_noise", "cut_gradients", "loss", "mean_squared_error"]

_ENTROPY = 0.05
"""Of the mean prediction, where its divergence has weight 1: in the experiments of Jeong and Shin 2020 .5 and 10."""

_MOVES: Final = 2
_MOVE: Final = 0.1
"""How often noise is moved, and how far in each pixel, in standard deviations: Hedayatnia et al. 2025 for CIFAR-10 (for
ImageNet 1 and 0.05)."""


def loss(
    objective: Objective,
    denoised: Tensor,
    clean: Tensor,
    sigma: Tensor,
    *,
    taught: Tensor | None = None,
    network: nn.Module | None = None,
    labels: Tensor | None = None,
    own: Tensor | None = None,
    temperature: float = 1.0,
    cut: float | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The loss of a batch: a scalar, 0 or more; each term is a mean over all images of the batch.

    denoised, clean: (B, C, H, W) in [0, 1]; sigma: (B,), the noise's standard deviation in the same units.
    taught: what mse compares the denoised images with, if not the clean ones: a teacher's estimates.
    network: images -> logits, frozen, for the terms that ask a classifier; labels: (B,) true classes, for classification,
    adversarial (under noise that is already moved), selective (wrong answers count as 0) and head; own: (B, classes) logits
    of the denoiser's class head. For both kinds of consistency the second half of the batch is the first one under other
    noise.
    The classifier's logits are divided by the temperature. Above 1, a classifier that is sure of wrong answers (they all
    are, on what strong noise leaves of an image) does not drown the images on which there is something to decide.
    cut: longest gradient (l2 norm) of one image's loss with respect to the denoised image, as the classifier returns it.
    label_smoothing: this share of each true label is spread evenly over all classes (Szegedy et al. 2016).
    """
    terms = []
    if objective.mse > 0.0:
        wanted = clean if taught is None else taught
        terms.append(objective.mse * mean_squared_error(denoised, wanted, sigma))
    if objective.head > 0.0:
        assert own is not None
        assert labels is not None
        terms.append(objective.head * F.cross_entropy(own.float(), labels, label_smoothing=label_smoothing))
        if objective.head_consistency > 0.0:
            terms.append(objective.head_consistency * _inconsistency(own.float()))
    if objective.asks_classifier:
        assert network is not None
        seen = denoised if cut is None else cut_gradients(denoised, cut)
        logits = network(seen).float() / temperature
        if objective.stability > 0.0:
            with torch.no_grad():
                answer = network(clean).argmax(dim=1)
            terms.append(objective.stability * F.cross_entropy(logits, answer))
        if objective.needs_classes:
            assert labels is not None
            errors = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
            if objective.selective > 0.0:
                terms.append(objective.selective * (errors * (logits.argmax(dim=1) == labels)).mean())
            else:
                terms.append((objective.classification + objective.adversarial) * errors.mean())
        if objective.consistency > 0.0:
            terms.append(objective.consistency * _inconsistency(logits))
    return torch.stack(terms).sum()


def mean_squared_error(denoised: Tensor, wanted: Tensor, sigma: Tensor) -> Tensor:
    """Mean squared error of images (B, C, H, W), each one's divided by its sigma (B,): else the strongest noise decides."""
    return (((denoised.float() - wanted.float()) ** 2).mean(dim=(1, 2, 3)) / sigma).mean()


def adversarial_noise(classify: Callable[[Tensor], Tensor], noisy: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """The noisy images (B, C, H, W), their noise moved to where `classify` (noisy images -> logits) errs more.

    Twice, each pixel goes a tenth of its image's sigma (B,) the way that raises the cross-entropy with the labels (B,). No
    gradient reaches any weight.
    """
    step = _MOVE * sigma.view(-1, 1, 1, 1)
    for _ in range(_MOVES):
        seen = noisy.detach().requires_grad_()
        error = F.cross_entropy(classify(seen).float(), labels, reduction="sum")
        (slope,) = torch.autograd.grad(error, seen)
        noisy = noisy.detach() + step * slope.sign()
    return noisy


def cut_gradients(images: Tensor, longest: float) -> Tensor:
    """The same images (B, C, H, W); on the way back, the gradient of each image's loss is at most `longest` (l2 norm).

    The loss is taken to be a mean over the batch. One image that the classifier is wildly wrong about then cannot
    outweigh the others, as it does where only the gradient of the whole batch is clipped.
    """
    cut: Tensor = _Cut.apply(images, longest)  # type: ignore[no-untyped-call]
    return cut


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, longest: float) -> Tensor:
        ctx.longest = longest
        return images.view_as(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        lengths = gradient.flatten(1).norm(dim=1) * len(gradient)
        factors = ctx.longest / lengths.clamp(min=ctx.longest)
        return gradient * factors.view(-1, 1, 1, 1), None


def _inconsistency(logits: Tensor) -> Tensor:
    """Of the first half of the batch and the second: divergence from the mean prediction, and a part of its entropy."""
    logs = torch.stack(logits.log_softmax(dim=1).chunk(2))
    log_mean = logs.logsumexp(dim=0) - math.log(2.0)
    mean = log_mean.exp()
    divergence = (mean * (log_mean - logs.mean(dim=0))).sum(dim=1)
    entropy = -(mean * log_mean).sum(dim=1)
    return (divergence + _ENTROPY * entropy).mean()
