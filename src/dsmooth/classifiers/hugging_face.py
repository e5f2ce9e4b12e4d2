"""`hf:FOLDER`, `hf:owner/name`: image classifiers in the format of Hugging Face's transformers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import BadModel, first_line, require
from dsmooth.services.hub import HUB, downloaded, is_repository

__all__ = ["hugging_face_classifier", "load_hugging_face"]

_FILES: Final = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
_SHOWN: Final = 3  # names of arrays
_ALIKE: Final = 1e-4  # of a normalised pixel
_UNNAMED: Final = "LABEL_"
"""What transformers calls a class that nobody named."""


def load_hugging_face(spec: str) -> TorchClassifier:
    """The classifier of hf:FOLDER, or of hf:owner/name[@revision] on the Hub or in its cache."""
    name = spec.removeprefix(HUB)
    if Path(name).is_dir():
        return hugging_face_classifier(name, name=f"{HUB}{Path(name).name}")
    if not is_repository(name.partition("@")[0]):
        raise BadModel(f"expected hf:FOLDER or hf:owner/name, got {spec!r}: there is no such folder")
    return hugging_face_classifier(downloaded(name, _FILES), name=spec)


def hugging_face_classifier(folder: Path | str, *, name: str) -> TorchClassifier:
    """The image classifier that save_pretrained wrote to a folder, with the normalisation of its image processor.

    Only safetensors are read, and code in the folder is never run. Raises BadModel for missing weights, which would be
    random, and for a processor that does more than resize, crop, rescale and normalise.
    """
    import_torchvision()  # transformers imports it where it is installed
    transformers = require("transformers", "hf")
    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is deprecated in files that people have
            processor = transformers.AutoImageProcessor.from_pretrained(folder, **where)
            model, told = transformers.AutoModelForImageClassification.from_pretrained(
                folder, **where, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # the package raises many kinds, none of which is this program's fault
        line = first_line(error)
        raise BadModel(f"{name}: expected an image classifier of transformers in safetensors: {line[:300]}") from error
    if absent := sorted(told["missing_keys"]) + sorted(str(each) for each in told["mismatched_keys"]):
        raise BadModel(
            f"{name}: expected all weights of a {type(model).__name__}, missing {', '.join(absent[:_SHOWN])}"
            f"{f' and {len(absent) - _SHOWN:,} more' if len(absent) > _SHOWN else ''}"
        )
    mean, std = _normalisation(processor, name)
    return TorchClassifier(
        _Logits(model), name=name, mean=mean, std=std, class_names=_names(model.config), input_size=_side(processor)
    )


class _Logits(nn.Module):
    """The part of the model's output that decides."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        for part in model.modules():
            if hasattr(part, "name_or_path"):
                part.name_or_path = ""  # the digest is of the model, not of its place
                part.loss_function = None  # nothing is trained here, and tracing would ask for it, and warn

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=x).logits
        return logits


def _normalisation(processor: Any, name: str) -> tuple[list[float], list[float]]:
    """Mean and std, for pixels in [0, 1], of an image processor; raises BadModel where these are not all that it does."""
    scale = 255.0 * processor.rescale_factor if processor.do_rescale else 255.0
    plain = ([0.0] * 3, [1.0] * 3)
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else plain
    mean, std = [float(each) / scale for each in mean], [float(each) / scale for each in std]
    shown = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    try:
        given = processor(images=shown, do_resize=False, do_center_crop=False, return_tensors="np")["pixel_values"][0]
    except Exception as error:  # as above
        raise BadModel(f"{name}: its image processor failed ({type(error).__name__}: {str(error)[:200]})") from error
    expected = ((shown / 255.0 - mean) / std).transpose(2, 0, 1)
    if np.shape(given) != expected.shape or not np.abs(np.asarray(given) - expected).max() < _ALIKE:
        raise BadModel(
            f"{name}: expected an image processor that resizes, crops, rescales and normalises, got one that does more "
            f"({type(processor).__name__}): wrap the model yourself, in TorchClassifier"
        )
    return mean, std


def _side(processor: Any) -> int | None:
    """The side of the square images that the processor makes; None where they are not square."""
    cropped = getattr(processor, "do_center_crop", None) and getattr(processor, "crop_size", None)
    size = dict(cropped or getattr(processor, "size", None) or {})
    sides = {size[key] for key in ("height", "width", "shortest_edge") if size.get(key)}
    return int(sides.pop()) if len(sides) == 1 else None


def _names(config: Any) -> Sequence[str] | None:
    """What the classes are called, in the order of the logits; None where nobody named them."""
    named = {int(key): str(value) for key, value in (config.id2label or {}).items()}
    names = [named[i] for i in range(len(named)) if i in named]
    return names if len(names) == len(named) > 0 and not all(each.startswith(_UNNAMED) for each in names) else None
