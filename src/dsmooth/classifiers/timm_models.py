"""`timm:NAME`, `timm:NAME@FILE`: the models of timm."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Any, Final

from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.checkpoints import classes_in, load_checkpoint, load_weights
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import BadModel, require
from dsmooth.services.hub import downloaded

__all__ = ["imagenet_names", "load_timm", "timm_classifier"]

_WEIGHTS: Final = "model.safetensors"
_IMAGENET: Final = 1000  # classes


def load_timm(spec: str) -> TorchClassifier:
    """The classifier of timm:NAME, or of timm:NAME@FILE."""
    name, _, file = spec.removeprefix("timm:").partition("@")
    if not name:
        raise BadModel(f"expected timm:NAME or timm:NAME@FILE, got {spec!r}")
    return timm_classifier(name, file or None)


def timm_classifier(name: str, checkpoint: Path | str | None = None) -> TorchClassifier:
    """A model of timm with its own normalisation, and as many classes as the checkpoint has.

    Without a checkpoint the pretrained weights come from the Hub or its cache.
    """
    import_torchvision()
    timm = require("timm", "vision")
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4))
        raise BadModel(f"timm has no model {name!r}" + (f": similar names: {near}" if near else ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm warns of renamed models; the name that was asked for still works
        module = _pretrained(name) if checkpoint is None else _filled(name, checkpoint)
    data = timm.data.resolve_model_data_config(module)
    return TorchClassifier(
        module,
        name=f"timm:{name}",
        mean=data["mean"],
        std=data["std"],
        input_size=data["input_size"][-1],
        class_names=imagenet_names() if module.num_classes == _IMAGENET else None,
    )


def _filled(name: str, checkpoint: Path | str) -> Any:
    state, timm = load_checkpoint(checkpoint), require("timm", "vision")
    module = timm.create_model(name, pretrained=False)
    classes = classes_in(state, module, module.num_classes)
    if classes != module.num_classes:
        module = timm.create_model(name, pretrained=False, num_classes=classes)
    load_weights(module, state, name=f"{name}@{checkpoint}")
    return module


def _pretrained(name: str) -> Any:
    timm = require("timm", "vision")
    told = timm.get_pretrained_cfg(name)
    try:
        source = {}
        if told is not None and told.hf_hub_id:  # timm itself would try for most of a minute where the Hub is away
            file = downloaded(told.hf_hub_id, [_WEIGHTS]) / _WEIGHTS
            source = {"file": str(file)} if file.is_file() else {}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)
    except Exception as error:  # timm raises many kinds, none of which is this program's fault
        why = str(error) if isinstance(error, BadModel) else type(error).__name__
        raise BadModel(
            f"the weights of {name} cannot be fetched ({why}): pass a file, as in timm:{name}@weights.safetensors"
        ) from error


def imagenet_names() -> list[str]:
    """The 1,000 ImageNet class names, in the order of the class indices."""
    info = require("timm.data", "vision").ImageNetInfo()
    return [info.index_to_description(i).split(",")[0] for i in range(_IMAGENET)]
