"""Weights of classifiers from files: never unpickled, never larger than they are stored."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dsmooth.errors import BadModel

__all__ = ["load_checkpoint", "load_weights"]


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


def load_weights(module: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    """The module holds these weights; raises BadModel, naming the first misfit, where they do not fit."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise BadModel(
            f"{name}: the weights do not fit: {str(error).strip().splitlines()[-1].strip()[:200]}"
        ) from error
