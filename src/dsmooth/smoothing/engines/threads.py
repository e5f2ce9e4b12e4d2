"""The cores of this machine, or its GPU: worker threads in this process, one torch thread each."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar

import torch

from dsmooth.errors import BadParameter
from dsmooth.smoothing.engines.base import ON_THREADS, Answers, Block, Engine, Spread
from dsmooth.smoothing.engines.worker import Worker

__all__ = ["ThreadEngine"]


class ThreadEngine(Engine):
    """As many threads as the backend has networks; they start with the first block."""

    here: ClassVar[bool] = True

    @classmethod
    def check(cls, spread: Spread, *, billed: bool) -> None:
        if spread.gpus is not None:
            raise BadParameter("gpus is for engine ray: leave out gpus, or choose that engine")

    def __init__(self, worker: Worker, spread: Spread = ON_THREADS) -> None:
        self._worker = worker
        self.workers = worker.pipeline.backend.workers
        self._threads = ThreadPoolExecutor(self.workers, "dsmooth", initializer=torch.set_num_threads, initargs=(1,))
        self._torch_threads, self._alone = torch.get_num_threads(), False

    def _submit(self, block: Block) -> Future[Answers]:
        return self._threads.submit(self._worker.answer, block)

    def begin(self) -> None:
        if not self._alone:
            self._torch_threads, self._alone = torch.get_num_threads(), True
            torch.set_num_threads(1)  # some of torch's libraries keep one number for all threads
        self._worker.pipeline.classifier.begin()

    def rest(self) -> None:
        if self._alone:
            self._alone = False
            torch.set_num_threads(self._torch_threads)

    def interrupt(self) -> None:
        self._worker.pipeline.classifier.interrupt()

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
