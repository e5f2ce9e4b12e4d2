"""Torch on a CPU: one thread a network, channels last, batch normalisation folded."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from dsmooth.backends.allocator import keep_freed_memory
from dsmooth.backends.base import DTYPES, TensorFunction, check_dtype
from dsmooth.backends.folding import fold_batchnorm, the_same
from dsmooth.backends.networks import copy_for_inference

__all__ = ["Eager", "cores", "quickened"]

_ROWS = 2  # of the first batch, on which a rewritten network is compared with the original


class Eager:
    """Runs the module as it is written, on a CPU, one torch thread a network."""

    name = "eager"
    device = torch.device("cpu")
    area = 50 * 32 * 32  # small batches stay in the cache: 50 images of 32 x 32, one of 224 x 224
    most_rows = 256

    def __init__(self, dtype: str = "fp32", workers: int | None = None) -> None:
        self.dtype = check_dtype(dtype, ("fp32", "bf16"), self.name)
        self.workers = workers or cores()
        keep_freed_memory()

    def ready(self, module: nn.Module) -> TensorFunction:
        return quickened(module, DTYPES[self.dtype], self.device)


def quickened(module: nn.Module, dtype: torch.dtype, device: torch.device) -> TensorFunction:
    """The module's function on this device and in this dtype, with its batch normalisation folded where that is exact."""
    original = copy_for_inference(module, torch.float32, device)
    folded = fold_batchnorm(original)  # now, and not at the first batch: other networks may be computing by then
    network: nn.Module | None = None

    def run(x: Tensor) -> Tensor:
        nonlocal network
        if network is None:
            few = x[:_ROWS].to(device, torch.float32)
            chosen = original if folded is None else the_same(folded, original, few)
            network = copy_for_inference(chosen, dtype, device)
        return network(x.to(device, dtype))

    return run


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
