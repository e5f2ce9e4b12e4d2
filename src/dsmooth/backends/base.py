"""The contract of backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from dsmooth.errors import BadModel, BadParameter

__all__ = ["DTYPES", "Backend", "CannotRun", "TensorFunction", "check_dtype", "difference"]

DTYPES: Final = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
"""Precision of the networks. tf32 rounds what is multiplied to 11 bits, on GPUs only."""

TensorFunction = Callable[[Tensor], Tensor]
"""(B, C, H, W) on any device and in any floating dtype -> the module's answer, on the backend's device."""


class CannotRun(BadModel):
    """This backend cannot run this network; another can."""


class Backend(Protocol):
    """Runs networks by one runtime in one precision.

    It computes the module's function up to rounding in that precision: a backend that rewrites the network compares the
    result with the original on the first batch. Backend, dtype and batch shape are part of what is certified.
    """

    name: str
    """Its name in records."""

    dtype: str
    """A key of DTYPES."""

    device: torch.device

    area: int
    """Height x width x rows of a good batch, where nothing was measured."""

    most_rows: int
    """Most rows of a batch, even for small images."""

    workers: int
    """Threads that keep the device busy; each works on networks of its own."""

    def ready(self, module: nn.Module) -> TensorFunction:
        """The module's function in eval mode and without gradients, for one thread at a time; the module stays as it is.

        Raises CannotRun, on the first call for a shape, where this backend cannot run it.
        """
        ...


def check_dtype(dtype: str, accepted: tuple[str, ...], backend: str) -> str:
    """The dtype, if this backend computes in it; raises BadParameter otherwise."""
    if dtype not in accepted:
        raise BadParameter(f"dtype must be one of {', '.join(accepted)} with backend {backend}, got {dtype!r}")
    return dtype


def difference(answer: Tensor, expected: Tensor) -> float:
    """The distance of two outputs relative to the expected one; infinite where only one of them is finite."""
    answer, expected = answer.double().cpu(), expected.double().cpu()
    if answer.shape != expected.shape or not torch.equal(answer.isfinite(), expected.isfinite()):
        return float("inf")
    known = expected.isfinite()
    apart, size = (answer - expected)[known].norm(), expected[known].norm()
    return float(apart / size) if size > 0 else float(apart)
