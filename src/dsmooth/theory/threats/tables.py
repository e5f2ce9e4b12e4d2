"""Families that change each level by itself: finitely many tables of 256 bytes, which are all listed."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from dsmooth.theory.threats.base import Boxes, Bytes, Threat

__all__ = ["IDENTITY", "TableThreat"]

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


def _new(tables: Bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which tables differ from the one before, on the levels that the image has."""
    return np.concatenate([[True], (tables[1:] != tables[:-1]).any(axis=1)])
