"""Which samples of which image come next: policy, and nothing else.

Images wait in requests (a run is one request, a single image of a server another). Blocks go to the requests in turn,
those of higher priority first, the nearest deadline first among equals; within a request the oldest image comes first.
A block is filled with what other images of the same shape want, so no row is empty while somebody could use it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count
from typing import Final

from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.tally import AnyTally

__all__ = ["USUAL", "Choice", "Scheduler", "Urgency"]

Choice = list[tuple[AnyTally, Chunk]]
"""The rows of a block: images of one shape, and which samples of each."""


@dataclass(frozen=True, slots=True)
class Urgency:
    """How soon a request wants its answers."""

    priority: int = 0
    """Higher ones get every block that they can use before lower ones get any."""
    deadline: float = math.inf
    """By time.monotonic(); among requests of one priority it decides who is first, not how much."""


USUAL: Final = Urgency()


@dataclass(eq=False)
class _Open:
    tally: AnyTally
    request: Hashable
    urgency: Urgency
    number: int


class Scheduler:
    """The images that are being put to the vote, and whose turn it is.

    ahead: whether rows that would be empty go to votes that a look may make superfluous, and which are lost then: free where
    networks run here, not where every vote is paid for.
    """

    def __init__(self, *, ahead: bool) -> None:
        self._ahead = ahead
        self._open: list[_Open] = []
        self._served: dict[Hashable, int] = {}
        """The turn at which each request was given its last block."""
        self._turn = 0
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, tally: AnyTally, *, request: Hashable, urgency: Urgency = USUAL) -> None:
        """This image wants votes from now on; a new request queues behind those that are there."""
        self._served.setdefault(request, self._turn)
        self._open.append(_Open(tally, request, urgency, next(self._numbers)))

    def remove(self, tally: AnyTally) -> None:
        """This image wants nothing more."""
        gone = next(entry for entry in self._open if entry.tally is tally)
        self._open.remove(gone)
        if all(entry.request != gone.request for entry in self._open):
            self._served.pop(gone.request, None)

    @property
    def has_room(self) -> bool:
        """Whether the next block has rows that no open image wants now: another image would fill them."""
        order = [entry.tally for entry in sorted(self._open, key=self._rank) if entry.tally.wanted]
        if not order:
            return True
        alike = [tally for tally in order if _alike(order[0], tally)]
        return sum(tally.wanted for tally in alike) < order[0].batch_size

    def next(self) -> Choice:
        """The rows of the next block; empty where no image wants votes now."""
        rows: Choice = []
        order = sorted(self._open, key=self._rank)
        for entry in order:
            _fill(rows, entry.tally)
        for entry in order if self._ahead else ():
            _fill(rows, entry.tally, ahead=True)
        if rows:
            self._turn += 1
            first = next(entry for entry in order if entry.tally is rows[0][0])
            self._served[first.request] = self._turn
        return rows

    def _rank(self, entry: _Open) -> tuple[int, int, float, int]:
        return -entry.urgency.priority, self._served[entry.request], entry.urgency.deadline, entry.number


def _alike(one: AnyTally, other: AnyTally) -> bool:
    """Whether two images can share a batch."""
    return (one.image.pixels.shape, one.batch_size) == (other.image.pixels.shape, other.batch_size)


def _left(rows: Choice, tally: AnyTally) -> int:
    """How many rows of the block this image may still have: none where the block has another shape."""
    if rows and not _alike(rows[0][0], tally):
        return 0
    return tally.batch_size - sum(chunk.count for _, chunk in rows)


def _fill(rows: Choice, tally: AnyTally, *, ahead: bool = False) -> None:
    while (left := _left(rows, tally)) > 0 and (chunk := tally.take(left, ahead=ahead)) is not None:
        rows.append((tally, chunk))
