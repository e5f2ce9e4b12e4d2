"""The source of a law, on a device."""

from __future__ import annotations

from typing import Final

import torch

from dsmooth.registry import Registry
from dsmooth.smoothing.sources.base import Source
from dsmooth.theory.laws.base import Law
from dsmooth.theory.laws.known import check_law

__all__ = ["SOURCES", "source_of"]

SOURCES: Final = Registry(
    "source",
    {
        "grid": "dsmooth.smoothing.sources.grid:GridSource",
        "lighting": "dsmooth.smoothing.sources.lighting:LightingSource",
        "splitting": "dsmooth.smoothing.sources.splitting:SplittingSource",
        "grid on cuda": "dsmooth.smoothing.sources.grid_cuda:CudaGridSource",
    },
)


def source_of(law: Law, device: torch.device | None = None) -> Source:
    """What makes the samples of this law; on this device, where there is a source for it, and the same ones everywhere.

    A law of one's own names a source of one's own as "module:object". Raises BadParameter for what is no law.
    """
    name = check_law(law).source
    if device is not None and (there := f"{name} on {device.type}") in SOURCES:
        made: Source = SOURCES.load(there)(law, device)
    else:
        made = SOURCES.load(name)(law) if name in SOURCES else Registry("source", {name: name}).load(name)(law)
    return made
