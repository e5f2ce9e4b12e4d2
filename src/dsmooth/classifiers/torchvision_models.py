"""`torchvision:NAME`, `torchvision:NAME@FILE`: the classifiers of torchvision."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Final

from torch import nn

from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.checkpoints import classes_in, load_checkpoint, load_weights
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import BadModel, require

__all__ = ["load_torchvision", "torchvision_classifier"]

_AS_TRAINED: Final[dict[str, dict[str, Any]]] = {
    "inception_v3": {"transform_input": True, "init_weights": False},
    "googlenet": {"transform_input": True, "init_weights": False},
}
"""Options that torchvision itself sets when it loads the weights of these."""


def load_torchvision(spec: str) -> TorchClassifier:
    """The classifier of torchvision:NAME, or of torchvision:NAME@FILE."""
    name, _, file = spec.removeprefix("torchvision:").partition("@")
    if not name:
        raise BadModel(f"expected torchvision:NAME or torchvision:NAME@FILE, got {spec!r}")
    return torchvision_classifier(name, file or None)


def torchvision_classifier(name: str, checkpoint: Path | str | None = None) -> TorchClassifier:
    """A model of torchvision with the normalisation of its best weights, and as many classes as the checkpoint has.

    Without a checkpoint those weights are downloaded, or found where torch keeps downloads; never unpickled.
    """
    import_torchvision()
    models = require("torchvision", "vision").models
    known = models.list_models(module=models)
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.4))
        raise BadModel(f"torchvision has no classifier {name!r}" + (f": similar names: {near}" if near else ""))
    weights = models.get_model_weights(name).DEFAULT
    names, transform = weights.meta["categories"], weights.transforms()
    options = _AS_TRAINED.get(name, {})
    module: nn.Module = models.get_model(name, weights=None, **options)
    if checkpoint is None:
        state, source = _fetched(weights, name), name
    else:
        state, source = load_checkpoint(checkpoint), f"{name}@{checkpoint}"
        classes = classes_in(state, module, len(names))
        if classes != len(names):
            module, names = models.get_model(name, weights=None, num_classes=classes, **options), None
    load_weights(module, state, name=source)
    return TorchClassifier(
        module,
        name=f"torchvision:{name}",
        mean=transform.mean,
        std=transform.std,
        input_size=transform.crop_size[0],
        class_names=names,
    )


def _fetched(weights: Any, name: str) -> Any:
    try:
        return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # a broken cache, a missing network: none of which is this program's fault
        raise BadModel(
            f"the weights of {name} cannot be fetched ({type(error).__name__}): "
            f"pass a file, as in torchvision:{name}@weights.safetensors"
        ) from error
