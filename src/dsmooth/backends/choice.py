"""A backend by name. No torch before one is chosen, so that help texts can list them."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsmooth.registry import Registry

if TYPE_CHECKING:
    from dsmooth.backends.base import Backend

__all__ = ["BACKENDS", "SLOWER", "automatic", "backend_named", "candidates", "fastest", "has_bf16"]

_BF16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls such units of x86 and ARM processors."""

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


@cache
def has_bf16() -> bool:
    """Whether the processor (the GPU, where there is one) multiplies in bf16; not known outside of Linux."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return not _BF16.isdisjoint(told.split())


def fastest(dtype: str) -> str:
    """The name of the backend that is fastest here in this dtype, of those that are installed.

    In fp32 OpenVINO is not worth the seconds that it compiles for.
    """
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "openvino" if dtype == "bf16" and importlib.util.find_spec("openvino") else "eager"


def candidates(backend: str, dtype: str) -> list[tuple[str, str]]:
    """The backends and dtypes that these names stand for, the fastest here first: what cannot run networks gives way.

    Only "auto" leaves a choice. It is made by what the processor can do, because times change with what else runs. In fp32
    everything runs, so that it stands last.
    """
    dtypes = [dtype] if dtype != "auto" else ["bf16", "fp32"] if has_bf16() else ["fp32"]
    chosen = [
        (name, each) for each in dtypes for name in ([backend] if backend != "auto" else _with_torch(fastest(each)))
    ]
    return chosen


def _with_torch(name: str) -> list[str]:
    """That backend, and where it is OpenVINO, torch, which runs what OpenVINO cannot."""
    return [name, "eager"] if name == "openvino" else [name]


def automatic(dtype: str, workers: int | None = None) -> Backend:
    """The backend that is fastest here in this dtype."""
    return backend_named(fastest(dtype), dtype, workers)


def backend_named(name: str, dtype: str, workers: int | None = None) -> Backend:
    """The backend of that name; raises BadParameter for an unknown one, MissingPackage where its package is missing."""
    backend: Backend = BACKENDS.load(name)(dtype, workers)
    return backend
