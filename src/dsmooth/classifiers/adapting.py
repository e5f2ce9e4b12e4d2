"""What users hand in as a classifier: modules, classifiers, models of other libraries, functions, look-alikes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import nn

from dsmooth.backends.base import Backend
from dsmooth.classifiers.base import Classifier, DifferentiableClassifier, LabelFunction
from dsmooth.classifiers.functions import FunctionClassifier, of_keras, predicting
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import BadModel

__all__ = ["as_classifier"]


@runtime_checkable
class _LooksLikeOne(Protocol):
    """What a class needs that does not inherit from Classifier; with `network`, it is differentiable too."""

    name: str
    class_names: Sequence[str] | None
    input_size: int | None

    def prepared(self, backend: Backend) -> LabelFunction: ...

    def digest(self) -> str: ...


def as_classifier(model: object) -> Classifier:
    """A Classifier unchanged; a torch.nn.Module wrapped, without normalisation; an object with a classifier's members (name,
    class_names, input_size, prepared, digest), with `predict_proba` or `predict`; or any other function of images.

    Raises BadModel for anything else.
    """
    if isinstance(model, Classifier):
        return model
    if isinstance(model, nn.Module) and not of_keras(model):
        return TorchClassifier(model)
    if isinstance(model, _LooksLikeOne) and not isinstance(model, type):
        return _AdaptedNetwork(model) if hasattr(model, "network") else _Adapted(model)
    if isinstance(model, type):
        raise BadModel(
            f"expected a classifier, got the class {model.__name__}: pass an instance, as in {model.__name__}()"
        )
    if (asked := predicting(model)) is not None:
        return asked
    if callable(model):
        return FunctionClassifier(model)
    raise BadModel(
        "expected a torch.nn.Module, a Classifier, something with predict_proba or predict, or a function of images, "
        f"got {type(model).__name__}"
    )


class _Adapted(Classifier):
    """Another object's answers, checked like those of every classifier."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.name, self.class_names, self.input_size = model.name, model.class_names, model.input_size

    def answers(self, backend: Backend) -> Callable[..., Sequence[Any]]:
        return self._model.prepared(backend)

    def digest(self) -> str:
        return self._model.digest()


class _AdaptedNetwork(_Adapted, DifferentiableClassifier):
    def network(self) -> nn.Module:
        return self._model.network()
