"""A backend by name."""

from __future__ import annotations

import importlib.util
from typing import Final

import torch

from dsmooth.backends.base import Backend
from dsmooth.errors import BadParameter

__all__ = ["BACKENDS", "SLOWER", "backend_named", "fastest"]

BACKENDS: Final = ("auto", "eager", "openvino", "cuda")

SLOWER = "bf16 runs in plain torch: pip install 'dsmooth[openvino]' makes it 2 to 3 times faster"
"""What is said where OpenVINO would be the fastest, and is not installed."""


def fastest(dtype: str) -> str:
    """The name of the backend that is fastest here in this dtype, of those that are installed.

    In fp32 OpenVINO is not worth the seconds that it compiles for.
    """
    if torch.cuda.is_available():
        return "cuda"
    return "openvino" if dtype == "bf16" and importlib.util.find_spec("openvino") else "eager"


def backend_named(name: str, dtype: str, workers: int | None = None) -> Backend:
    """The backend of that name; raises BadParameter for an unknown one, MissingPackage where its package is missing."""
    if name == "eager":
        from dsmooth.backends.eager import Eager

        return Eager(dtype, workers)
    if name == "openvino":
        from dsmooth.backends.openvino import OpenVino

        return OpenVino(dtype, workers)
    if name == "cuda":
        from dsmooth.backends.cuda import Cuda

        return Cuda(dtype, workers)
    raise BadParameter(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
