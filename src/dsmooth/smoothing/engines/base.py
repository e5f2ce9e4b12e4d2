"""The contract of engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import final

from dsmooth.errors import BadModel
from dsmooth.images.pixels import Pixels
from dsmooth.smoothing.chunks import Chunk
from dsmooth.theory.votes import Label

__all__ = ["Answers", "Block", "Engine", "Part"]


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
    """What came of a block."""

    labels: Sequence[Label | None]
    """One for each sample, in the order of the parts; None is a trial without a vote."""
    chance: bool = False
    """The same rows are answered differently: the classifier brings randomness of its own."""


class Engine(ABC):
    """Runs one base classifier on blocks. Whatever it is made of, the same block has the same answers.

    Errors of a block come out of its future: BadModel for networks that do not fit or whose rows are not independent,
    MemoryError where the batch is too large for the memory, ServiceStopped where a service gave out.
    """

    workers: int
    """Blocks that are worked on at a time: a scheduler keeps one more ready."""

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

    def begin(self) -> None:  # noqa: B027 (nothing to do is a good default)
        """Work is about to be submitted, also after `interrupt`."""

    def rest(self) -> None:  # noqa: B027
        """No work is under way, and none is waiting."""

    def interrupt(self) -> None:  # noqa: B027
        """Nobody waits any more for what the workers are waiting for: a service is asked nothing further."""

    @abstractmethod
    def close(self) -> None:
        """Everything that runs is waited for, what waits is cancelled, and nothing can be submitted any more."""
