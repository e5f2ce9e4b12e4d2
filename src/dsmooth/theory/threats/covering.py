"""Covers: so few centres that every image of a family is near one of them, found box by box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from dsmooth.theory.grid import LEVELS
from dsmooth.theory.threats.base import Boxes, Bytes, Threat

__all__ = ["MOST_CENTRES", "Cover", "budget_of", "covers_of"]

MOST_CENTRES: Final = 1000
"""Of one image; a family that takes more is not worth asking about."""

_BLOCK: Final = 64  # boxes that are compared with a centre at once


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """Images such that every image of the family is at most `rho` in l2 from one of them. The first is the image itself.

    They follow from the image, the family and rho, and stand in the order in which they are asked about: the image itself,
    then those farthest from it in the order of the family, which are likely to fail first.
    """

    rho: float
    centres: tuple[Bytes, ...]

    def holds(self, picture: Bytes) -> bool:
        """Whether the image (H, W, C) is at most rho from a centre, in exact arithmetic."""
        budget = budget_of(self.rho)
        return any(
            int(((centre.astype(np.int64) - picture.astype(np.int64)) ** 2).sum()) <= budget for centre in self.centres
        )


def budget_of(rho: float) -> int:
    """The largest squared distance in whole steps of 1/255 that is at most rho."""
    return int((LEVELS * Fraction(rho)) ** 2)


def covers_of(threat: Threat, pixels: Bytes, radii: tuple[float, ...]) -> dict[float, Cover]:
    """The cover of the family of this image for each of the radii; without those for which none is found.

    Raises BadParameter where the family is not for such images.
    """
    threat.check(pixels.shape)
    boxes, found = threat.boxes(pixels), {}
    for rho in radii:
        rows = _rows(boxes, budget_of(rho))
        if rows is not None:
            centres = [pixels, *(threat.picture(pixels, row) for row in rows)]
            found[rho] = Cover(rho, tuple({centre.tobytes(): centre for centre in centres}.values()))
    return found


def _rows(boxes: Boxes, budget: int) -> list[Bytes] | None:
    """The centres beside the image itself; None where a box is too large, or where there would be too many centres."""
    count = len(boxes.low)
    far = np.concatenate(
        [boxes.farthest(boxes.own, first, min(first + _BLOCK, count)) for first in range(0, count, _BLOCK)]
    )
    home = int(far.argmin())
    chosen: list[int] = []
    for first, last in _runs(far > budget):
        at = first
        while at < last:
            place = _farthest_centre(boxes, at, budget)
            end = _reach(boxes, place, budget)
            if end <= at or len(chosen) + 1 >= MOST_CENTRES:
                return None
            chosen.append(place)
            at = end
    chosen.sort(key=lambda place: (-abs(place - home), place))
    return [boxes.candidates[place] for place in chosen]


def _runs(marked: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The first and one beyond the last place of each run of marked ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _farthest_centre(boxes: Boxes, at: int, budget: int) -> int:
    """The last candidate that is found, from the one at `at` on, which is near to all boxes from there to it."""
    last, low, step = len(boxes.candidates) - 1, at, 1
    while low + step <= last and _near(boxes, low + step, at, budget):
        low += step
        step *= 2
    high = min(low + step, last + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if _near(boxes, middle, at, budget):
            low = middle
        else:
            high = middle
    return low


def _near(boxes: Boxes, place: int, at: int, budget: int) -> bool:
    """Whether a candidate is near to all boxes from `at` to it."""
    centre = boxes.candidates[place]
    return all(
        bool((boxes.farthest(centre, first, min(first + _BLOCK, place)) <= budget).all())
        for first in range(at, place, _BLOCK)
    )


def _reach(boxes: Boxes, place: int, budget: int) -> int:
    """The first box from the candidate's place on that is not near to it; the number of boxes where all are."""
    centre, count = boxes.candidates[place], len(boxes.low)
    for first in range(place, count, _BLOCK):
        beyond = np.flatnonzero(boxes.farthest(centre, first, min(first + _BLOCK, count)) > budget)
        if len(beyond):
            return first + int(beyond[0])
    return count
