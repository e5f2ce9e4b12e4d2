"""Shifts by whole pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_count
from dsmooth.theory.threats.base import Boxes, Bytes, Threat

__all__ = ["Shift"]


@dataclass(frozen=True, slots=True)
class Shift(Threat):
    """Shifted horizontally and vertically by whole numbers of pixels from -`most` to `most` each, with black borders.

    (2 most + 1)^2 images, all of them listed. Source: docs/theory.md, claim 29.
    """

    most: int

    name: ClassVar[str] = "shift"
    usage: ClassVar[str] = "shift PIXELS"
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", check_count(self.most, "the pixels of a shift", most=8))

    @property
    def words(self) -> str:
        """As in `Threat`."""
        return f"shift by up to {self.most} px across and down"

    @property
    def by(self) -> str:
        """As in `Threat`."""
        return "shift 1: whole pixels, black outside"

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """As in `Threat`: across, down."""
        return ((-self.most, self.most), (-self.most, self.most))

    def apply(self, pixels: Bytes, *parameters: float) -> Bytes:
        """As in `Threat`: to the right and down."""
        across, down = map(int, parameters)
        height, width, _ = pixels.shape
        moved = np.zeros_like(pixels)
        to_rows, from_rows = _overlap(down, height)
        to_columns, from_columns = _overlap(across, width)
        moved[to_rows, to_columns] = pixels[from_rows, from_columns]
        return moved

    def boxes(self, pixels: Bytes) -> Boxes:
        """As in `Threat`: one box for each image, row by row."""
        steps = range(-self.most, self.most + 1)
        rows = np.stack([self.apply(pixels, across, down).reshape(-1) for down in steps for across in steps])
        return Boxes(rows, rows, rows, pixels.reshape(-1))

    def check(self, shape: Sequence[int]) -> None:
        """As in `Threat`."""
        if min(shape[:2]) <= self.most:
            raise BadParameter(f"a shift by {self.most} pixels needs larger images, got {shape[0]} x {shape[1]}")


def _overlap(step: int, length: int) -> tuple[slice, slice]:
    """Where pixels arrive, and where they come from."""
    return slice(max(0, step), length + min(0, step)), slice(max(0, -step), length - max(0, step))
