"""The contract of classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dsmooth.backends.base import Backend
from dsmooth.theory.votes import Label

__all__ = ["Answer", "Classifier", "DifferentiableClassifier", "labels_of"]

Answer = Callable[[Tensor], Sequence[Label | None]]
"""(B, C, H, W) in [0, 1] scale, not clipped -> one label a row; None where there is no usable answer."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """SHIM."""

    billed: bool = False
    logged: bool = False
    rows: int | None = None
    workers: int | None = None
    preparation: str = "as it is"


@runtime_checkable
class Classifier(Protocol):
    """Anything that answers a batch of images with labels; it never certifies."""

    name: str
    """Enough to find the model and its version again."""

    class_names: Sequence[str] | None
    """What the class indices mean, where that is known."""

    input_size: int | None
    """The side, in pixels, of the square images that it was trained for, where that is known."""

    traits: Any

    def prepared(self, backend: Backend) -> Answer:
        """The function from images to labels, for one thread: networks in eval mode, without gradients, run by `backend`."""
        ...

    def digest(self) -> str:
        """SHA-256 that changes when the function changes, as far as that can be known."""
        ...


@runtime_checkable
class DifferentiableClassifier(Classifier, Protocol):
    """A classifier that runs here as a network: what denoisers are trained through and attacks follow."""

    def network(self) -> nn.Module:
        """Images (B, C, H, W) in [0, 1] scale -> (B, K) logits: a frozen copy in eval mode; gradients reach the images."""
        ...


def labels_of(logits: Tensor) -> list[Label | None]:
    """The class of the largest logit in each row of (B, K); None for rows that are not finite."""
    finite = torch.isfinite(logits).all(dim=1).tolist()
    return [int(label) if ok else None for label, ok in zip(logits.argmax(dim=1).tolist(), finite, strict=True)]


class Shim:
    traits = Traits()

    def begin(self) -> None: ...
    def interrupt(self) -> None: ...
