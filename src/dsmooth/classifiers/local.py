"""Networks that run here: any torch.nn.Module, and timm's models by name."""

from __future__ import annotations

import difflib
import math
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dsmooth.backends.base import Backend, Network
from dsmooth.backends.networks import copy_for_inference, digest_module
from dsmooth.classifiers.base import Answer, Shim, labels_of
from dsmooth.classifiers.torchvision_ops import import_torchvision
from dsmooth.errors import BadModel, require

__all__ = ["TorchClassifier", "load_checkpoint", "timm_classifier"]


class TorchClassifier(Shim):
    """Any module that turns (B, C, H, W) images in [0, 1] into (B, K) logits, as a classifier.

    `mean` and `std`, one number a channel, are subtracted and divided by first: normalisation belongs to the classifier,
    because the noise is added to the image. `classes` is checked against K where it is given.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        input_size: int | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise BadModel(f"expected a torch.nn.Module, got {type(module).__name__}")
        mean, std = _numbers(mean, "mean"), _numbers(std, "std")
        if (mean is None) != (std is None) or len(mean or ()) != len(std or ()):
            raise BadModel("expected mean and std together, with one number a channel each")
        if not all(value > 0.0 for value in std or ()):
            raise BadModel(f"expected std above 0, got {std}")
        for key, value in module.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise BadModel(f"expected finite weights, got NaN or infinity in {key} of the classifier")
        self.module = module
        self.name = name or type(module).__name__
        self.class_names = class_names
        self.input_size = input_size
        self._mean, self._std = mean, std

    def network(self) -> nn.Module:
        """Images (B, C, H, W) in [0, 1] scale -> (B, K) logits: a frozen copy in eval mode; gradients reach the images."""
        return self._normalised(copy_for_inference(self.module, torch.float32))

    def prepared(self, backend: Backend) -> Answer:
        network = self._normalised(backend.ready(self.module)).to(backend.device)
        return lambda images: labels_of(network(images).float())

    def _normalised(self, run: Network) -> _Normalised:
        return _Normalised(run, self.name, self._mean, self._std, len(self.class_names or ()) or None)

    def digest(self) -> str:
        return digest_module(f"classifier mean {self._mean} std {self._std}", self.module)


class _Normalised(nn.Module):
    """Normalisation in float32, then the network; what comes back is checked."""

    _shift: Tensor | None
    _scale: Tensor | None

    def __init__(
        self,
        run: Network,
        name: str,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        classes: int | None,
    ) -> None:
        super().__init__()
        self.run, self.name, self.classes = run, name, classes
        self.register_buffer("_shift", None if mean is None else torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("_scale", None if std is None else torch.tensor(std).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        x = images.to(torch.float32)
        if self._shift is not None and self._shift.shape[1] != x.shape[1]:
            raise BadModel(f"expected images of {self._shift.shape[1]} channels for {self.name}, got {x.shape[1]}")
        if self._shift is not None and self._scale is not None:
            x = (x - self._shift) / self._scale
        logits: Any = self.run(x)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise BadModel(f"expected {self.name} to answer {len(images)} images with (B, K) logits, got {got}")
        if self.classes is not None and logits.shape[1] != self.classes:
            raise BadModel(f"expected {self.name} to know {self.classes} classes, got {logits.shape[1]} logits")
        return logits


def _numbers(values: Sequence[float] | None, name: str) -> list[float] | None:
    try:
        numbers = None if values is None else [float(value) for value in values]
    except (TypeError, ValueError):
        raise BadModel(f"expected {name} as one number a channel, got {values!r}") from None
    if not all(math.isfinite(number) for number in numbers or ()):
        raise BadModel(f"expected finite numbers as {name}, got {numbers}")
    return numbers


def load_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The arrays of a .safetensors file, or of a torch file without any code in it (weights_only); as float32."""
    path = Path(path)
    if not path.is_file():
        raise BadModel(f"{path}: no such checkpoint")
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            _check_stored(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except BadModel:
        raise
    except (SafetensorError, MemoryError, OSError, RuntimeError, ValueError, EOFError, KeyError, ImportError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadModel(f"{path}: expected safetensors, or torch weights without pickled code: {line}") from error
    except Exception as error:  # torch's unpickler raises pickle.UnpicklingError, which is no OSError
        raise BadModel(f"{path}: expected safetensors, or torch weights without pickled code; refused") from error
    if isinstance(state, Mapping) and "state_dict" in state:
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadModel(f"{path}: expected a mapping from names to tensors, got {type(state).__name__}")
    for key, value in state.items():
        dense = value.layout is torch.strided and not value.is_meta
        if not dense or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise BadModel(f"{path}: expected tensors that are stored whole, got {key} of {tuple(value.shape)}")
    return {str(key): value.float() if value.is_floating_point() else value for key, value in state.items()}


def _check_stored(path: Path) -> None:
    """Raises BadModel where a torch file is compressed: torch does not, and unpacking could fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.file_size != entry.compress_size:
                    raise BadModel(
                        f"{path}: expected torch weights as torch stores them, got {entry.filename} compressed"
                    )


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


def load_weights(module: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    """The module holds these weights; raises BadModel, naming the first misfit, where they do not fit."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise BadModel(
            f"{name}: the weights do not fit: {str(error).strip().splitlines()[-1].strip()[:200]}"
        ) from error


def imagenet_names() -> list[str]:
    """The 1,000 ImageNet class names, in the order of the class indices."""
    info = require("timm.data", "vision").ImageNetInfo()
    return [info.index_to_description(i).split(",")[0] for i in range(1000)]
