"""An engine by name."""

from __future__ import annotations

from typing import Final

from dsmooth.registry import Registry
from dsmooth.smoothing.engines.base import Engine
from dsmooth.smoothing.engines.worker import Worker

__all__ = ["ENGINES", "engine_named"]

ENGINES: Final = Registry("engine", {"threads": "dsmooth.smoothing.engines.threads:ThreadEngine"})


def engine_named(name: str, worker: Worker) -> Engine:
    """The engine of that name, running this worker; raises BadParameter for an unknown one."""
    engine: Engine = ENGINES.load(name)(worker)
    return engine
