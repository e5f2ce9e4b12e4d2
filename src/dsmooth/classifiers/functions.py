"""Plain functions of images, and models with `predict` or `predict_proba`, as classifiers."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmooth.backends.base import Backend
from dsmooth.classifiers.base import Classifier, LabelFunction, check_logits, checked_names, labels_of
from dsmooth.errors import BadModel
from dsmooth.records.digests import unknown_digest
from dsmooth.theory.votes import Label

__all__ = ["FunctionClassifier", "of_keras", "predicting"]

_ONE_AT_A_TIME: Final = threading.RLock()


class FunctionClassifier(Classifier):
    """A function from a batch of images to their scores or labels, as a classifier.

    The function is called with a float32 tensor (B, C, H, W) on the CPU, or with `arrays` with a NumPy array (B, H, W, C),
    by one thread at a time; pixels are in the scale [0, 1], with noise added and not clipped, whatever dtype the denoiser
    runs in. It returns scores (B, K), of which the largest is the vote, or one label per row: an int, a str, or None for a
    trial without a vote. Tensors, arrays and lists are accepted, and outputs that hold the scores as `.logits`.

    Functions cannot be compared, so the digest is "unknown: NAME": such a run cannot be resumed, and its certificates are
    never verified.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        name: str | None = None,
        class_names: Sequence[str] | None = None,
        input_size: int | None = None,
        arrays: bool = False,
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise BadModel(f"expected a function from images to scores or labels, got {function!r:.80}")
        self._digest = unknown_digest(function)
        self.name = name or str(getattr(function, "__qualname__", type(function).__qualname__))
        self.class_names, self.input_size = checked_names(class_names), input_size
        self._function, self._arrays = function, arrays

    def answers(self, backend: Backend) -> LabelFunction:
        def answer(images: Tensor) -> Sequence[Any]:
            batch = images.to("cpu", torch.float32).contiguous()
            asked = np.ascontiguousarray(batch.permute(0, 2, 3, 1).numpy()) if self._arrays else batch
            with _ONE_AT_A_TIME:  # a plain function cannot be copied, and may not be made for several threads
                given = self._function(asked)
            return self._labels(given, len(batch))

        return answer

    def digest(self) -> str:
        return self._digest

    def _labels(self, given: Any, rows: int) -> Sequence[Label | None]:
        """The class of the largest score in each row, or answers with one axis as they are: `prepared` checks them."""
        given = getattr(given, "logits", given)
        try:
            axes = len(np.shape(given))
        except ValueError:
            raise BadModel(f"expected {self.name} to answer with rows of one length, got ragged ones") from None
        if axes == 1:
            return given.tolist() if isinstance(given, np.ndarray | Tensor) else given
        return labels_of(check_logits(_tensor(given), rows, self.name, len(self.class_names or ()) or None))


def predicting(model: Any) -> FunctionClassifier | None:
    """An object with `predict_proba`, as in scikit-learn, or `predict`, as in Keras, as a classifier; else None.

    scikit-learn's models get images as rows (B, H W C), as `images.reshape(len(images), -1)` gives them, and their
    `classes_` are the class names; Keras's get arrays (B, H, W, C).
    """
    name = type(model).__name__
    if callable(ask := getattr(model, "predict_proba", None)):
        classes = getattr(model, "classes_", None)
        names = None if classes is None else [str(each) for each in classes]
        return FunctionClassifier(_flattened(ask, name), name=name, class_names=names, arrays=True)
    if callable(ask := getattr(model, "predict", None)):
        return FunctionClassifier(_quietly(ask, name), name=name, input_size=_side(model), arrays=True)
    return None


def of_keras(model: object) -> bool:
    """Whether it is a model of Keras, which is a torch.nn.Module too where torch is its backend, and takes (B, H, W, C)."""
    return any(kind.__module__.partition(".")[0] == "keras" for kind in type(model).__mro__)


def _side(model: Any) -> int | None:
    """The side of the square images that a model of Keras was built for, where it says so: (None, H, W, C)."""
    shape = getattr(model, "input_shape", None)
    square = isinstance(shape, tuple) and len(shape) == 4 and shape[1] == shape[2] and isinstance(shape[1], int)
    return shape[1] if square and shape is not None else None


def _flattened(ask: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    def probabilities(images: npt.NDArray[np.float32]) -> Any:
        return ask(images.reshape(len(images), -1))

    probabilities.__qualname__ = f"{name}.predict_proba"  # the digest names it
    return probabilities


def _quietly(ask: Callable[..., Any], name: str) -> Callable[[Any], Any]:
    quiet: dict[str, Any] = {"verbose": 0} if "verbose" in inspect.signature(ask).parameters else {}

    def scores(images: npt.NDArray[np.float32]) -> Any:
        return ask(images, **quiet)

    scores.__qualname__ = f"{name}.predict"
    return scores


def _tensor(scores: Any) -> Any:
    """Scores as a tensor, where they are numbers; check_logits complains of anything else."""
    if isinstance(scores, Tensor):
        return scores.detach().cpu()
    try:
        return torch.from_numpy(np.asarray(scores))
    except (TypeError, ValueError):
        return scores
