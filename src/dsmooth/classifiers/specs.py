"""Classifiers by name. No torch before one is loaded, so that help texts can list them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsmooth.errors import BadModel
from dsmooth.records.files import TEXT, read_bounded
from dsmooth.records.reading import strict_json
from dsmooth.registry import Registry
from dsmooth.services.catalogue import SERVICES

if TYPE_CHECKING:
    from dsmooth.classifiers.base import Classifier

__all__ = ["CLASSIFIERS", "load_classifier", "read_class_names"]

CLASSIFIERS: Final = Registry(
    "classifier",
    {
        "efficientnet-lite0": "dsmooth.classifiers.efficientnet_lite:efficientnet_lite",
        "efficientnet-lite1": "dsmooth.classifiers.efficientnet_lite:efficientnet_lite",
        "efficientnet-lite2": "dsmooth.classifiers.efficientnet_lite:efficientnet_lite",
        "timm:NAME[@FILE]": "dsmooth.classifiers.timm_models:load_timm",
        "torchvision:NAME[@FILE]": "dsmooth.classifiers.torchvision_models:load_torchvision",
        "hf:FOLDER": "dsmooth.classifiers.hugging_face:load_hugging_face",
        "hf:owner/name": "dsmooth.classifiers.hugging_face:load_hugging_face",
        "cifar:resnet56@FILE": "dsmooth.classifiers.cifar_resnet:load_cifar",
        "onnx:FILE": "dsmooth.classifiers.onnx:load_onnx",
        "import:package.module:factory": "dsmooth.classifiers.imported:load_imported",
        **dict.fromkeys(SERVICES, "dsmooth.classifiers.remote:RemoteClassifier"),
    },
    BadModel,
)
"""Each is called with the whole spec."""


def load_classifier(spec: str, class_names: Path | str | None = None) -> Classifier:
    """The classifier that the spec names; raises BadModel with the accepted forms for anything else.

    `class_names`: a file of class names that replace the classifier's own.

    The EfficientNets need no download; `import:` calls a factory without arguments in a module that Python can import
    (the current folder included), which returns a torch.nn.Module or a Classifier.
    """
    names = None if class_names is None else read_class_names(class_names)
    classifier: Classifier = CLASSIFIERS.load(spec)(spec)
    if names is not None:
        classifier.class_names = names
    return classifier


def read_class_names(path: Path | str) -> list[str]:
    """The names in a file, in the order of the class indices; raises BadModel where it holds none.

    A text file with one name per line, a JSON list, or a JSON object from index to name, as in transformers.
    """
    path = Path(path)
    try:
        text = read_bounded(path, TEXT).decode("utf-8-sig")
        if path.suffix != ".json":
            names: Any = text.splitlines()
        elif isinstance(names := strict_json(text), dict):
            names = [names[str(i)] for i in range(len(names))]
    except (OSError, ValueError, LookupError) as error:
        told = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise BadModel(f"{path}: expected class names, one per line or as JSON, cannot read them ({told})") from error
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise BadModel(f"{path}: expected a name for every class, one per line or as JSON, got none or an empty one")
    return [name.strip() for name in names]
