"""A backend by name. No torch before one is chosen, so that help texts can list them."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from dsmooth.registry import Registry

if TYPE_CHECKING:
    from dsmooth.backends.base import Backend

__all__ = ["BACKENDS", "SLOWER", "automatic", "backend_named", "fastest"]

BACKENDS: Final = Registry(
    "backend",
    {
        "auto": "dsmooth.backends.choice:automatic",
        "eager": "dsmooth.backends.eager:Eager",
        "openvino": "dsmooth.backends.openvino:OpenVino",
        "cuda": "dsmooth.backends.cuda:Cuda",
    },
)
"""Each is called with dtype and workers."""

SLOWER = "bf16 runs in plain torch: pip install 'dsmooth[openvino]' makes it 2 to 3 times faster"
"""What is said where OpenVINO would be the fastest, and is not installed."""


def fastest(dtype: str) -> str:
    """The name of the backend that is fastest here in this dtype, of those that are installed.

    In fp32 OpenVINO is not worth the seconds that it compiles for.
    """
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "openvino" if dtype == "bf16" and importlib.util.find_spec("openvino") else "eager"


def automatic(dtype: str, workers: int | None = None) -> Backend:
    """The backend that is fastest here in this dtype."""
    return backend_named(fastest(dtype), dtype, workers)


def backend_named(name: str, dtype: str, workers: int | None = None) -> Backend:
    """The backend of that name; raises BadParameter for an unknown one, MissingPackage where its package is missing."""
    backend: Backend = BACKENDS.load(name)(dtype, workers)
    return backend
