"""Which rows the next batch has."""

from __future__ import annotations

from collections.abc import Iterator

from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.poll import Poll

__all__ = ["Batch", "Room"]

Batch = list[tuple[Poll, Chunk]]
"""Images of one shape, and which samples of each."""


class Room:
    """The images that are being put to the vote, and those that wait outside.

    An image is let in only while there is room in a batch that no open image wants, so no more images are open than rows are
    in flight. Rows that are still empty then may go `ahead`, to votes beyond an image's next look, which are lost if that
    look is its last.
    """

    def __init__(self, polls: Iterator[Poll], ahead: bool) -> None:
        self._outside, self._ahead = polls, ahead
        self._next = next(polls, None)
        self._open: list[Poll] = []

    def close(self, poll: Poll) -> None:
        """This image is finished."""
        self._open.remove(poll)

    def batch(self) -> Batch:
        """The rows of the next batch, all of one shape: oldest images first. Empty where there is nothing to ask for now."""
        rows: Batch = []
        for poll in self._open:
            self._fill(rows, poll)
        while self._next is not None and _left(rows, self._next) > 0:
            poll, self._next = self._next, next(self._outside, None)
            self._open.append(poll)
            self._fill(rows, poll)
        for poll in self._open if self._ahead else ():
            self._fill(rows, poll, ahead=True)
        return rows

    def _fill(self, rows: Batch, poll: Poll, *, ahead: bool = False) -> None:
        while (left := _left(rows, poll)) > 0 and (chunk := poll.take(left, ahead=ahead)) is not None:
            rows.append((poll, chunk))


def _left(rows: Batch, poll: Poll) -> int:
    """How many rows of the batch this image may still have: none where the batch has another shape."""
    if rows and rows[0][0].image.pixels.shape != poll.image.pixels.shape:
        return 0
    return poll.batch - sum(chunk.count for _, chunk in rows)
