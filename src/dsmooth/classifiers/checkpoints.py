"""Weights of classifiers from files: never unpickled, never larger than they are stored."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dsmooth.errors import BadModel, first_line, last_line

__all__ = ["classes_in", "load_checkpoint", "load_weights"]

_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "net", "weights")
"""Names under which training programs keep the weights, beside epochs and optimizers."""

_PREFIXES: Final = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before the name of every array."""

_SHOWN: Final = 3  # differences


def load_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The arrays of a .safetensors file, or of a torch file without any code in it (weights_only); as float32.

    A training checkpoint that holds them under a usual name, such as "state_dict" or "model", is unwrapped.
    """
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
        line = first_line(error)
        raise BadModel(f"{path}: expected safetensors, or torch weights without pickled code: {line}") from error
    except Exception as error:  # torch's unpickler raises pickle.UnpicklingError, which is no OSError
        raise BadModel(f"{path}: expected safetensors, or torch weights without pickled code; refused") from error
    if isinstance(state, Mapping):
        state = next((state[name] for name in _WRAPPERS if isinstance(state.get(name), Mapping)), state)
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


def load_weights(module: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    """The module holds these weights; raises BadModel, naming the first differences, where they do not fit."""
    state = _unprefixed(state, module.state_dict())
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        differences = list(_differences(module.state_dict(), state)) or [last_line(error)[:200]]
        more = f", and {len(differences) - _SHOWN:,} more" if len(differences) > _SHOWN else ""
        raise BadModel(f"{name}: the weights do not fit: {', '.join(differences[:_SHOWN])}{more}") from error


def classes_in(state: Mapping[str, Tensor], module: nn.Module, classes: int) -> int:
    """How many classes weights were trained for, of a network that has so many: by the size of its last such array.

    `classes` itself where the weights have no array of that name.
    """
    wanted = module.state_dict()
    state = _unprefixed(state, wanted)
    heads = [key for key, value in wanted.items() if value.ndim and len(value) == classes and key in state]
    return len(state[heads[-1]]) if heads and state[heads[-1]].ndim else classes


def _unprefixed(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same arrays, without what programs put before all of their names and the network does not."""
    for prefix in _PREFIXES:
        before_all = state and all(key.startswith(prefix) for key in state)
        if before_all and not any(key.startswith(prefix) for key in wanted):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _differences(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    for key, value in wanted.items():
        if key in given and given[key].shape != value.shape:
            yield f"{key} is {tuple(given[key].shape)} and not {tuple(value.shape)}"
    yield from (f"{key} is missing" for key in wanted if key not in given and not key.endswith("num_batches_tracked"))
    yield from (f"{key} is unknown" for key in given if key not in wanted)
