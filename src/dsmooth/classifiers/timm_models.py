"""`timm:NAME`, `timm:NAME@FILE`: the models of timm."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path

from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.checkpoints import load_checkpoint, load_weights
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import BadModel, require

__all__ = ["imagenet_names", "load_timm", "timm_classifier"]


def load_timm(spec: str) -> TorchClassifier:
    """The classifier of timm:NAME, or of timm:NAME@FILE."""
    name, _, file = spec.removeprefix("timm:").partition("@")
    if not name:
        raise BadModel(f"expected timm:NAME or timm:NAME@FILE, got {spec!r}")
    return timm_classifier(name, file or None)


def timm_classifier(name: str, checkpoint: Path | str | None = None) -> TorchClassifier:
    """A model of timm with its own normalisation; pretrained weights come from the hub unless a checkpoint is given."""
    import_torchvision()
    timm = require("timm", "vision")
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4))
        raise BadModel(f"timm has no model {name!r}" + (f": near are {near}" if near else ""))
    state = None if checkpoint is None else load_checkpoint(checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm warns of renamed models; the name that was asked for still works
        try:
            module = timm.create_model(name, pretrained=state is None)
        except Exception as error:  # the hub's client raises many kinds, none of which is this program's fault
            raise BadModel(
                f"the weights of {name} cannot be fetched ({type(error).__name__}): "
                f"give a file, as in timm:{name}@weights.safetensors"
            ) from error
    if state is not None:
        load_weights(module, state, name=f"{name}@{checkpoint}")
    data = timm.data.resolve_model_data_config(module)
    return TorchClassifier(
        module,
        name=f"timm:{name}",
        mean=data["mean"],
        std=data["std"],
        input_size=data["input_size"][-1],
        class_names=imagenet_names() if module.num_classes == 1000 else None,
    )


def imagenet_names() -> list[str]:
    """The 1,000 ImageNet class names, in the order of the class indices."""
    info = require("timm.data", "vision").ImageNetInfo()
    return [info.index_to_description(i).split(",")[0] for i in range(1000)]
