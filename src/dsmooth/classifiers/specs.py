"""Classifiers by name. No torch before one is loaded, so that help texts can list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsmooth.errors import BadModel
from dsmooth.registry import Registry
from dsmooth.services.catalogue import SERVICES

if TYPE_CHECKING:
    from dsmooth.classifiers.base import Classifier

__all__ = ["CLASSIFIERS", "load_classifier"]

CLASSIFIERS: Final = Registry(
    "classifier",
    {
        "efficientnet-lite0": "dsmooth.classifiers.efficientnet_lite:efficientnet_lite",
        "efficientnet-lite1": "dsmooth.classifiers.efficientnet_lite:efficientnet_lite",
        "efficientnet-lite2": "dsmooth.classifiers.efficientnet_lite:efficientnet_lite",
        "timm:NAME[@FILE]": "dsmooth.classifiers.timm_models:load_timm",
        "cifar:resnet56@FILE": "dsmooth.classifiers.cifar_resnet:load_cifar",
        "onnx:FILE": "dsmooth.classifiers.onnx:load_onnx",
        "import:package.module:factory": "dsmooth.classifiers.imported:load_imported",
        **dict.fromkeys(SERVICES, "dsmooth.classifiers.remote:RemoteClassifier"),
    },
    BadModel,
)
"""Each is called with the whole spec."""


def load_classifier(spec: str) -> Classifier:
    """The classifier that the spec names; raises BadModel with the accepted forms for anything else.

    The EfficientNets come with no download; `import:` calls a factory of no arguments in a module that Python
    can import (the current folder included), which returns a torch.nn.Module or a Classifier.
    """
    classifier: Classifier = CLASSIFIERS.load(spec)(spec)
    return classifier
