"""One string -> one classifier."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from torch import nn

from dsmooth.classifiers.base import Classifier
from dsmooth.errors import BadModel, DsmoothError
from dsmooth.services import catalogue

__all__ = ["FORMS", "as_classifier", "load_classifier"]

FORMS = (
    "efficientnet-lite0 (1, 2), timm:NAME, timm:NAME@FILE, cifar:resnet56@FILE, onnx:FILE, import:package.module:factory, "
    f"{catalogue.FORMS}"
)


def load_classifier(spec: str) -> Classifier:
    """The classifier that the spec names; raises BadModel with the accepted forms for anything else.

    The EfficientNets come with no download; `import:` calls a factory of no arguments in a module that Python
    can import (the current folder included), which returns a torch.nn.Module or a Classifier.
    """
    scheme, _, rest = spec.partition(":")
    name, _, file = rest.partition("@")
    family, _, version = spec.partition("-lite")
    if family == "efficientnet":
        from dsmooth.classifiers.efficientnet_lite import SIZES, efficientnet_lite

        if version in SIZES:
            return efficientnet_lite(version)
    if scheme == "timm" and name:
        from dsmooth.classifiers.local import timm_classifier

        return timm_classifier(name, file or None)
    if scheme == "cifar" and name and file:
        from dsmooth.classifiers.cifar_resnet import cifar_classifier

        return cifar_classifier(name, file)
    if scheme == "onnx" and rest:
        from dsmooth.classifiers.onnx import OnnxClassifier

        return OnnxClassifier(rest)
    if scheme == "import" and rest.count(":") == 1:
        return _imported(*rest.split(":"))
    if catalogue.is_service(spec):
        from dsmooth.classifiers.remote import RemoteClassifier

        return RemoteClassifier(spec)
    raise BadModel(f"expected a classifier as {FORMS}, got {spec!r}")


def as_classifier(model: object) -> Classifier:
    """A Classifier as it is, a torch.nn.Module wrapped (no normalisation added); raises BadModel for anything else."""
    from dsmooth.classifiers.local import TorchClassifier

    if isinstance(model, nn.Module):
        return TorchClassifier(model)
    if isinstance(model, Classifier):
        return model
    raise BadModel(f"expected a torch.nn.Module or a Classifier, got {type(model).__name__}")


def _imported(module_name: str, factory_name: str) -> Classifier:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything
        raise BadModel(
            f"import:{module_name}:{factory_name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    try:
        made = factory()
    except DsmoothError:
        raise
    except (Exception, SystemExit) as error:
        raise BadModel(f"import:{module_name}:{factory_name} failed: {type(error).__name__}: {error}") from error
    try:
        classifier = as_classifier(made)
    except BadModel as error:
        raise BadModel(f"import:{module_name}:{factory_name}: {error}") from error
    if isinstance(made, nn.Module):
        classifier.name = f"import:{module_name}:{factory_name}"
    return classifier
