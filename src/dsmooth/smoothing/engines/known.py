"""An engine by name."""

from __future__ import annotations

from typing import Final

from dsmooth.registry import Registry
from dsmooth.smoothing.engines.base import Engine, Spread
from dsmooth.smoothing.engines.worker import Worker

__all__ = ["ENGINES", "engine_kind", "engine_named"]

ENGINES: Final = Registry(
    "engine",
    {
        "threads": "dsmooth.smoothing.engines.threads:ThreadEngine",
        "ray": "dsmooth.smoothing.engines.actors:RayEngine",
        "ray:ADDRESS": "dsmooth.smoothing.engines.actors:RayEngine",
    },
)
"""Each is called with a worker and what it may use."""


def engine_kind(name: str) -> type[Engine]:
    """The class of the engine of that name; raises BadParameter for an unknown one."""
    kind: type[Engine] = ENGINES.load(name)
    return kind


def engine_named(spread: Spread, worker: Worker) -> Engine:
    """The engine of that name, running this worker; raises BadParameter for an unknown one."""
    engine: Engine = ENGINES.load(spread.engine)(worker, spread)
    return engine
