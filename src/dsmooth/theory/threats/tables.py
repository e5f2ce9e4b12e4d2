"""Families that change each level by itself: finitely many tables of 256 bytes, which are all listed."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsmooth.errors import BadParameter
from dsmooth.theory.threats.base import Boxes, Bytes, Threat, check_range

__all__ = ["IDENTITY", "IntervalThreat", "TableThreat"]

IDENTITY: Bytes = np.arange(256, dtype=np.uint8)


class TableThreat(Threat):
    """A family whose image is table[pixels] for one of finitely many tables.

    Distances between its images follow from the histogram of the one image, exactly, whatever the image's size.
    """

    @abstractmethod
    def tables(self, pixels: Bytes) -> Bytes:
        """All tables (tables, 256) that the parameter can give, in its order; neighbours differ in few levels."""

    def boxes(self, pixels: Bytes) -> Boxes:
        """One box for each table: a single image."""
        histogram = np.bincount(pixels.reshape(-1), minlength=256)
        seen = histogram > 0
        tables = self.tables(pixels)[:, seen]
        tables = np.ascontiguousarray(tables[_new(tables)])
        return Boxes(tables, tables, tables, IDENTITY[seen], histogram[seen].astype(np.int64))

    def picture(self, pixels: Bytes, row: Bytes) -> Bytes:
        """The image through this table."""
        table = np.zeros(256, dtype=np.uint8)
        table[np.unique(pixels)] = row
        made: Bytes = table[pixels]
        return made


@dataclass(frozen=True, slots=True)
class IntervalThreat(TableThreat):
    """A family of tables with one real parameter, which takes every value from `low` to `high`, both within `span`."""

    low: float
    high: float

    span: ClassVar[tuple[float, float]]

    def __post_init__(self) -> None:
        for end in ("low", "high"):
            value = check_range(f"the {end} end of {self.name}", getattr(self, end), *self.span)
            object.__setattr__(self, end, value)
        if not self.low <= self.high:
            raise BadParameter(f"{self.name} must go from low to high, got {self.low:g} to {self.high:g}")

    @property
    def words(self) -> str:
        """As in `Threat`."""
        return f"{self.name} {self.low:g} to {self.high:g}"

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """As in `Threat`."""
        return ((self.low, self.high),)


def _new(tables: Bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which tables differ from the one before, on the levels that the image has."""
    return np.concatenate([[True], (tables[1:] != tables[:-1]).any(axis=1)])
