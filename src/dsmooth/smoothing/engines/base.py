"""The contract of engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import ClassVar, Final, final

from dsmooth.errors import BadModel
from dsmooth.images.pixels import Pixels
from dsmooth.smoothing.chunks import Chunk
from dsmooth.theory.votes import Label

__all__ = ["ON_THREADS", "Answers", "Block", "Engine", "Part", "Spread"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Samples of one image."""

    pixels: Pixels
    """(H, W, C)"""
    image: str
    """Digest of the image."""
    chunk: Chunk


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One batch, as values that could be sent anywhere: images of one shape, and which samples of each."""

    parts: tuple[Part, ...]
    rows: int
    """Of the batch; those beyond the samples are padding."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parts[0].pixels.shape

    @property
    def samples(self) -> int:
        return sum(part.chunk.count for part in self.parts)


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to a block."""

    labels: Sequence[Label | None]
    """One label for each sample, in the order of the parts; None is a trial without a vote."""
    chance: bool = False
    """Whether the same rows are answered differently: the classifier is not deterministic."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Which engine, and how much of a machine or a cluster it may use."""

    engine: str = "threads"
    workers: int | None = None
    """Threads or processes; None: as many as there is room for."""
    gpus: float | None = None
    """Of a GPU, for each process; None: one where the backend is a GPU's, else none."""


ON_THREADS: Final = Spread()


class Engine(ABC):
    """Runs one base classifier on blocks. The same block has the same answers in every engine.

    Errors of a block come out of its future: BadModel for networks that do not fit or whose rows are not independent,
    MemoryError where the batch is too large for the memory, ServiceStopped where a service gave out.
    """

    here: ClassVar[bool]
    """Whether the networks run in this process."""

    workers: int
    """Blocks that can be worked on at a time, for now: one more is kept ready, whatever it is made of."""

    @property
    def depth(self) -> int:
        """Blocks that may be under way, for now: those beyond `workers` and one only where every row is wanted."""
        return self.workers + 1

    @classmethod
    @abstractmethod
    def check(cls, spread: Spread, *, billed: bool) -> None:
        """Raises BadParameter or MissingPackage if this engine does not support what is requested; starts nothing.

        billed: the classifier is a service.
        """

    @final
    def submit(self, block: Block) -> Future[Answers]:
        """The answers to come; their number is checked."""
        checked: Future[Answers] = Future()

        def check(done: Future[Answers]) -> None:
            if done.cancelled() or not checked.set_running_or_notify_cancel():
                checked.cancel()
            elif (error := done.exception()) is not None:
                checked.set_exception(error)
            elif len(done.result().labels) != block.samples:
                got = len(done.result().labels)
                checked.set_exception(BadModel(f"expected {block.samples} answers, got {got}"))
            else:
                checked.set_result(done.result())

        self._submit(block).add_done_callback(check)
        return checked

    @abstractmethod
    def _submit(self, block: Block) -> Future[Answers]:
        """As `submit`; what comes back is checked there."""

    def listen(self, hear: Callable[[str], None]) -> None:  # noqa: B027
        """`hear` is told, in a line each and from any thread, what happens to the workers: it must be quick."""

    def begin(self) -> None:  # noqa: B027 (nothing to do is a good default)
        """Work is about to be submitted, also after `interrupt`."""

    def rest(self) -> None:  # noqa: B027
        """No work is under way, and none is waiting."""

    def interrupt(self) -> None:  # noqa: B027
        """Nobody waits any more for what the workers are waiting for: a service is asked nothing further."""

    @abstractmethod
    def close(self) -> None:
        """Stops everything: waiting blocks are cancelled, and nothing more can be submitted."""
