"""How fast the backends are on this machine: a small network of convolutions, one thread each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from dsmooth.backends.choice import backend_named
from dsmooth.errors import DsmoothError

__all__ = ["Rate", "rates"]

_PAIRS: Final = (("eager", "fp32"), ("eager", "bf16"), ("openvino", "bf16"), ("cuda", "bf16"))
_ROWS: Final = 32
_LAYERS, _CHANNELS, _SIDE = 8, 64, 32


@dataclass(frozen=True, slots=True)
class Rate:
    """A backend in one precision: GFLOP/s, or why it cannot run here."""

    backend: str
    dtype: str
    gigaflops: float | None
    why: str = ""


def rates(seconds: float) -> Iterator[Rate]:
    """Each backend, measured for its share of `seconds`, without compilation and the first batch."""
    layers: list[nn.Module] = [nn.Conv2d(3, _CHANNELS, 3, padding=1), nn.ReLU()]
    for _ in range(_LAYERS - 1):
        layers += [nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1), nn.ReLU()]
    network = nn.Sequential(*layers)
    work = 2.0 * 9 * _SIDE**2 * _CHANNELS * (3 + _CHANNELS * (_LAYERS - 1)) * _ROWS
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for backend, dtype in _PAIRS:
            try:
                calls = _calls_a_second(network, backend, dtype, seconds / len(_PAIRS))
            except DsmoothError as error:
                yield Rate(backend, dtype, None, str(error))
            else:
                yield Rate(backend, dtype, calls * work / 1e9)
    finally:
        torch.set_num_threads(threads)


def _calls_a_second(network: nn.Module, backend: str, dtype: str, seconds: float) -> float:
    run = backend_named(backend, dtype, 1).ready(network)
    with torch.inference_mode():
        batch = torch.rand(_ROWS, 3, _SIDE, _SIDE)
        run(batch)
        calls, started = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - started < seconds:
            run(batch).sum().item()  # waits for a GPU
            calls += 1
        return calls / (time.perf_counter() - started)
