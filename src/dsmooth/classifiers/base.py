"""The contract of classifiers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol, final

import torch
from torch import Tensor, nn

from dsmooth.backends.base import Backend
from dsmooth.errors import BadModel, BadParameter
from dsmooth.records.querylog import Address
from dsmooth.services.client import Client, Picture
from dsmooth.services.gate import Limits
from dsmooth.theory.votes import Label, check_label

__all__ = [
    "MIRRORED", "Classifier", "Classify", "DifferentiableClassifier", "LabelFunction", "Traits", "check_logits",
    "checked_names", "labels_of",
]  # fmt: skip

MIRRORED: Final = "logits averaged over it and its mirror image"
"""The preparation of classifiers that are `mirrored`."""

LabelFunction = Callable[[Tensor], Sequence[Label | None]]
"""(B, C, H, W) in [0, 1] scale, not clipped -> one label a row; None where there is no usable answer."""


class Classify(Protocol):
    """An answer that was checked."""

    def __call__(
        self, images: Tensor, usable: Sequence[bool] | None = None, addresses: Sequence[Address] | None = None, /
    ) -> list[Label | None]:
        """An int, a str or None for each row of `images` (B, C, H, W); None where it is not `usable`.

        `addresses` name the first rows; the others are padding, which a billed classifier is not asked and answers with
        None. Raises BadModel where the classifier gives another number of answers, or anything that is no label.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a classifier declares about itself, so that nothing depends on its class."""

    billed: bool = False
    """Each query costs money: no trial runs, no padding, nothing twice, and no votes drawn ahead."""
    logged: bool = False
    """Its answers can be logged under the addresses of their noise (`logged`)."""
    rows: int | None = None
    """Rows per call of one thread; None: depends on backend and image size."""
    workers: int | None = None
    """Threads that keep it busy; None: depends on the backend."""
    preparation: str = "as it is"
    """The preprocessing of a denoised image before it is classified, in words. It is part of what is certified."""


class Classifier(ABC):
    """Anything that maps a batch of images to labels; it never certifies.

    A subclass implements `answers` and `digest`; callers use `prepared`, which checks the answers.
    """

    name: str
    """A name that identifies the model and its version."""

    class_names: Sequence[str] | None = None
    """The names of the class indices, if known."""

    input_size: int | None = None
    """The side, in pixels, of the square images that it was trained for, if known."""

    channels: int | None = None
    """The number of channels of the images that it takes, if known."""

    version: str | None = None
    """The model version that a service reports, once it has reported one."""

    queries: int = 0
    """How many queries a billed classifier has sent, retries included."""

    outcomes: Mapping[str, int] = MappingProxyType({})
    """How many of them were answered, and how many failed."""

    available: bool = True
    """Whether it would answer, as far as is known: a service may have failed lately, or its budget may be spent."""

    traits: Traits = Traits()

    limits: Limits = Limits()
    """What queries may cost and how fast they may be sent, for a billed classifier."""

    @property
    def classes(self) -> int | None:
        """The number of its classes, as many as have names; None if unknown."""
        return None if self.class_names is None else len(self.class_names)

    @abstractmethod
    def answers(self, backend: Backend) -> Callable[..., Sequence[Any]]:
        """The function from images to labels, for one thread: networks in eval mode, without gradients, run by `backend`.

        It is called with the images, and for a `logged` classifier also with `usable` and `addresses` of the rows to query.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 that changes when the function changes, as far as that can be detected."""

    @final
    def prepared(self, backend: Backend) -> Classify:
        """The function of `answers`, checked."""
        answer, traits, name = self.answers(backend), self.traits, self.name

        def classify(
            images: Tensor, usable: Sequence[bool] | None = None, addresses: Sequence[Address] | None = None, /
        ) -> list[Label | None]:
            rows = len(addresses) if traits.billed and addresses is not None else len(images)
            kept = [True] * rows if usable is None else usable[:rows]
            given = answer(images[:rows], kept, addresses) if traits.logged else answer(images[:rows])
            labels = _labels(given, rows, name)
            padding: list[Label | None] = [None] * (len(images) - rows)
            return [label if good else None for label, good in zip(labels, kept, strict=True)] + padding

        return classify

    def mirrored(self) -> Classifier:
        """The classifier whose logits are averaged over each image and its mirror image; it has another digest.

        Raises BadModel if there are no logits.
        """
        raise BadModel(
            f"{self.name} gives no logits that could be averaged over an image and its mirror image: leave mirror out, or "
            "pass the classifier as torch weights"
        )

    def ping(self) -> None:  # noqa: B027
        """Raises ServiceStopped if it is a service that cannot be reached; sends no query."""

    def begin(self) -> None:  # noqa: B027 (nothing to do is a good default)
        """Called before its first query, and before the next one after `interrupt`."""

    def interrupt(self) -> None:  # noqa: B027
        """Its answers are no longer needed: a service is not queried until `begin`."""

    def close(self) -> None:  # noqa: B027
        """Releases its connections; it is not queried any more."""

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides how an image becomes a vote, as far as a logged classifier knows it locally (JSON)."""
        return {}

    def logged(
        self, folder: Path, *, key_commitment: str, parameters: str, canaries: Sequence[Picture]
    ) -> AbstractContextManager[Client]:
        """Inside, every answer is logged in `folder`, and answers already there are not queried again.

        Gives the client that queries. Raises BadModel for a classifier that is not `logged`.
        """
        raise BadModel(f"{self.name} keeps no log of its answers")


class DifferentiableClassifier(Classifier):
    """A classifier that runs locally as a network, for training denoisers and for attacks."""

    @abstractmethod
    def network(self) -> nn.Module:
        """Images (B, C, H, W) in [0, 1] scale -> (B, K) logits: a frozen copy in eval mode; gradients reach the images."""


def check_logits(logits: Any, rows: int, name: str, classes: int | None = None) -> Tensor:
    """The logits themselves; raises BadModel unless they are real, (B, K) for so many rows, and of at least 2 classes.

    Of exactly `classes`, where that is known.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != rows:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise BadModel(f"expected {name} to answer {rows} images with (B, K) logits, got {got}")
    if logits.is_complex():
        raise BadModel(f"expected {name} to answer with real logits, got {logits.dtype}, which has no largest value")
    if logits.shape[1] < 2:
        raise BadModel(
            f"expected {name} to answer with logits of at least 2 classes, got {logits.shape[1]}: every answer would be "
            "class 0; where a single score s decides, answer with torch.cat([-s, s], dim=1)"
        )
    if classes is not None and logits.shape[1] != classes:
        raise BadModel(f"expected {name} to know {classes} classes, got {logits.shape[1]} logits")
    return logits


def labels_of(logits: Tensor) -> list[Label | None]:
    """The class of the largest logit in each row of (B, K); None for rows that are not finite. See `check_logits`."""
    check_logits(logits, len(logits), "the classifier")
    finite = torch.isfinite(logits).all(dim=1).tolist()
    return [int(label) if ok else None for label, ok in zip(logits.argmax(dim=1).tolist(), finite, strict=True)]


def checked_names(names: object) -> list[str] | None:
    """The class names as a list; raises BadModel for anything but a sequence of text that UTF-8 can encode."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise BadModel(f"expected class_names as a list of text, got {type(names).__name__}")
    try:
        return [str(check_label(name)) for name in names]
    except BadParameter as error:
        raise BadModel(f"class_names: {error}") from None


def _labels(given: Any, rows: int, name: str) -> list[Label | None]:
    got = len(given) if hasattr(given, "__len__") else type(given).__name__
    if got != rows:
        raise BadModel(f"{name}: expected one answer for each of {rows} images, got {got}")
    return [None if answer is None else _label(answer, name) for answer in given]


def _label(answer: Any, name: str) -> Label:
    """The answer as int or str; a NaN or any other number that is no class must not pass as a label."""
    if isinstance(answer, Tensor) and answer.ndim == 0:
        answer = answer.item()
    try:
        return check_label(answer)
    except BadParameter as error:
        raise BadModel(f"{name}: {error}; None is a trial without a vote") from None
