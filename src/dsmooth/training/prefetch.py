"""Batches that are prepared while the networks work on earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from dsmooth.backends.eager import cores

__all__ = ["Prefetch"]

Batch = TypeVar("Batch")


class Prefetch(Generic[Batch]):
    """`make(step)` for one step after another, computed by as many threads as there are cores.

    Decoding, scaling and cutting of images is done outside of Python's lock, so threads are enough; each step's batch
    must follow from the step alone. An error is raised at the step that it belongs to.
    """

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="batches")
        self._waiting: dict[int, Future[Batch]] = {}

    def __call__(self, step: int) -> Batch:
        for ahead in range(step, step + 2 * cores()):
            if ahead not in self._waiting:
                self._waiting[ahead] = self._pool.submit(self._make, ahead)
        return self._waiting.pop(step).result()
