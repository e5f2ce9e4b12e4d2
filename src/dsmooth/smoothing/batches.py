"""Which rows the next batch has."""

from __future__ import annotations

from collections.abc import Iterator

from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.tally import Tally

__all__ = ["Batch", "Batches"]

Batch = list[tuple[Tally, Chunk]]
"""Images of one shape, and which samples of each."""


class Batches:
    """The images that are being put to the vote, and those that wait outside.

    An image is let in only while there is room in a batch that no open image wants, so no more images are open than rows are
    in flight. Rows that are still empty then may go `ahead`, to votes beyond an image's next look, which are lost if that
    look is its last.
    """

    def __init__(self, tallies: Iterator[Tally], ahead: bool) -> None:
        self._outside, self._ahead = tallies, ahead
        self._next = next(tallies, None)
        self._open: list[Tally] = []

    def close(self, tally: Tally) -> None:
        """This image is finished."""
        self._open.remove(tally)

    def batch(self) -> Batch:
        """The rows of the next batch, all of one shape: oldest images first. Empty where there is nothing to ask for now."""
        rows: Batch = []
        for tally in self._open:
            self._fill(rows, tally)
        while self._next is not None and _left(rows, self._next) > 0:
            tally, self._next = self._next, next(self._outside, None)
            self._open.append(tally)
            self._fill(rows, tally)
        for tally in self._open if self._ahead else ():
            self._fill(rows, tally, ahead=True)
        return rows

    def _fill(self, rows: Batch, tally: Tally, *, ahead: bool = False) -> None:
        while (left := _left(rows, tally)) > 0 and (chunk := tally.take(left, ahead=ahead)) is not None:
            rows.append((tally, chunk))


def _left(rows: Batch, tally: Tally) -> int:
    """How many rows of the batch this image may still have: none where the batch has another shape."""
    if rows and rows[0][0].image.pixels.shape != tally.image.pixels.shape:
        return 0
    return tally.batch - sum(chunk.count for _, chunk in rows)
