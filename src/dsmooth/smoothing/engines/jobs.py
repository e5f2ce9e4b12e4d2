"""Blocks that wait for a process, and the answers to them: which goes to whom, and which answers count.

A block that was lost is asked of another process, and a few are asked of two, who have to agree. Nothing here knows what a
process is.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from dsmooth.errors import BadModel, Drifted
from dsmooth.smoothing.engines.base import Answers, Block

__all__ = ["Job", "Jobs"]

_AGAIN: Final = 64  # one block in so many is asked of a second process before it counts
_TRIES: Final = 8  # processes that may end over a block


@dataclass(eq=False)
class Job:
    """A block and its answers to come."""

    block: Block
    answers: Future[Answers] = field(default_factory=Future)
    opinions: int = 0
    """Processes that have to answer it alike; 0 until it is first handed out."""
    given: list[tuple[Hashable, Answers]] = field(default_factory=list)
    asked: set[Hashable] = field(default_factory=set)
    """Processes that answered it, or have it."""
    lost: int = 0
    """Processes that ended over it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its batch: rows, height, width, channels."""
        return self.block.rows, *self.block.shape

    def settle(self, given: Answers | BaseException) -> None:
        """Its answers are these, or this went wrong with it; does nothing where either is known."""
        if self.answers.done():
            return
        if isinstance(given, BaseException):
            self.answers.set_exception(given)
        else:
            self.answers.set_result(given)


class Jobs:
    """The jobs that wait, in order. One thread uses it.

    A job that needs two opinions waits twice, and is given to no process a second time.
    """

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()

    def __len__(self) -> int:
        """Opinions that wait."""
        return len(self._waiting)

    def add(self, job: Job) -> None:
        """Behind those that wait."""
        self._waiting.append(job)

    def share(self, process: Hashable, most: int, *, alone: bool) -> list[Job]:
        """At most so many jobs, which are with this process from now on. alone: no other one could be asked."""
        taken: list[Job] = []
        kept: list[Job] = []
        again: list[Job] = []
        while self._waiting and len(taken) < most:
            job = self._waiting.popleft()
            if job.answers.done():
                continue
            if process in job.asked:
                if alone:
                    _content(job)
                else:
                    kept.append(job)
                continue
            if not job.opinions:
                job.opinions = 1 if alone or secrets.randbelow(_AGAIN) else 2
                again += [job] * (job.opinions - 1)
            job.asked.add(process)
            taken.append(job)
        self._waiting.extendleft(reversed(kept + again))
        return taken

    def give_back(self, process: Hashable, jobs: Sequence[Job], *, lost: bool) -> None:
        """This process will not answer these jobs: they come first again. lost: because it ended."""
        for job in reversed(jobs):
            job.asked.discard(process)
            job.lost += lost
            if job.lost >= _TRIES:
                job.settle(BadModel(f"{_TRIES} workers ended over one batch of {job.block.rows}: pass a smaller batch"))
            elif not job.answers.done():
                self._waiting.appendleft(job)

    def take(self, process: Hashable, job: Job, given: Answers | Exception) -> None:
        """The answers of this process to a job that it has; raises Drifted where another one gave others."""
        if job.answers.done():
            return
        if isinstance(given, Exception):
            job.settle(given)
            return
        for other, before in job.given:
            if not (given.chance or before.chance) and list(given.labels) != list(before.labels):
                differing = sum(a != b for a, b in zip(given.labels, before.labels, strict=True))
                raise Drifted(
                    f"{process} answers {differing} of {job.block.samples} images differently than {other}: one of them "
                    "runs another function, so the answers of both are in doubt"
                )
        job.given.append((process, given))
        if len(job.given) >= job.opinions:
            job.settle(given)


def _content(job: Job) -> None:
    """Nobody is left who could give a second opinion."""
    job.opinions = 1
    if job.given:
        job.settle(job.given[0][1])
