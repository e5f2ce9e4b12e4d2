"""Gaussian blur of any width up to a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.threats.base import Boxes, Bytes, Threat, check_range
from dsmooth.theory.threats.rotation import MOST_SIDE, grid

__all__ = ["Blur"]

_STEPS: Final = 256  # cells of a pixel of sigma
_SLACK: Final = 1e-3  # levels: more than convolutions in float32 are wrong by

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Blur(Threat):
    """Convolved with a Gaussian kernel of every real sigma up to `sigma` pixels, then rounded to the nearest level.

    The kernel is cut off at 3 times the largest sigma, sums to 1, and is the product of one across and one down; the image
    is reflected at its edges (the outer pixels once). Any rounding of halves is covered, and any program that computes the
    sums to within .001 of a level. Source: docs/theory.md, claim 29.
    """

    sigma: float

    name: ClassVar[str] = "blur"
    usage: ClassVar[str] = "blur SIGMA"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", check_range("the sigma of a blur", self.sigma, 0.1, 3.0))

    @property
    def words(self) -> str:
        """As in `Threat`."""
        return f"Gaussian blur of sigma up to {self.sigma:g} px"

    @property
    def by(self) -> str:
        """As in `Threat`."""
        return f"blur 1: Gaussian kernel of {2 * self._reach + 1} pixels, rounded to the nearest level, edges reflected"

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """As in `Threat`."""
        return ((0.0, self.sigma),)

    @property
    def _reach(self) -> int:
        """Pixels from the middle of the kernel to its end."""
        return math.ceil(3 * self.sigma)

    def check(self, shape: Sequence[int]) -> None:
        """As in `Threat`."""
        if max(shape[:2]) > MOST_SIDE or min(shape[:2]) <= self._reach:
            raise BadParameter(
                f"covers of a blur of {self.sigma:g} are for images from {self._reach + 1} to {MOST_SIDE} pixels a side, "
                f"got {shape[0]} x {shape[1]}"
            )

    def apply(self, pixels: Bytes, *parameters: float) -> Bytes:
        """As in `Threat`; halves are rounded up."""
        (sigma,) = parameters
        weights = self._normed(self._unnormed(np.array([sigma])))[0]
        blurred = pixels.astype(np.float64)
        for axis in (0, 1):
            width = [(self._reach, self._reach) if i == axis else (0, 0) for i in range(3)]
            padded, length = np.pad(blurred, width, mode="reflect"), pixels.shape[axis]
            blurred = sum(
                weights[abs(i - self._reach)] * np.take(padded, range(i, i + length), axis=axis)
                for i in range(2 * self._reach + 1)
            )
        return np.floor(blurred + 0.5).astype(np.uint8)

    def boxes(self, pixels: Bytes) -> Boxes:
        """As in `Threat`: a box for each 1/256 of a pixel."""
        ends = grid(0.0, self.sigma, _STEPS)
        sums, spreads = _rings(pixels, self._reach)
        at_ends, middle = self._unnormed(ends), self._normed(self._unnormed((ends[1:] + ends[:-1]) / 2))
        totals = _total(at_ends)
        least, most = at_ends[:-1] / totals[1:, None], at_ends[1:] / totals[:-1, None]
        weights = _products(middle)
        wrong = np.maximum(_products(most) - weights, weights - _products(least))
        value, bound = weights @ sums, wrong @ spreads + _SLACK
        low, high = np.floor(value - bound + 0.5), np.floor(value + bound + 0.5)
        centres = np.floor(_products(self._normed(at_ends)) @ sums + 0.5 + 1e-9)
        return Boxes(_bytes(low), _bytes(high), _bytes(centres), pixels.reshape(-1))

    def _unnormed(self, sigmas: Floats) -> Floats:
        """(sigmas, reach + 1): exp(-i^2 / 2 sigma^2), which rises with sigma; 1, 0, 0, ... at 0."""
        squares = np.arange(self._reach + 1) ** 2
        return np.exp(-squares / (2.0 * np.maximum(sigmas, 1e-3)[:, None] ** 2))

    @staticmethod
    def _normed(rows: Floats) -> Floats:
        return rows / _total(rows)[:, None]


def _total(rows: Floats) -> Floats:
    """Of the whole kernel: all but its middle stand there twice."""
    total: Floats = 2.0 * rows.sum(axis=1) - rows[:, 0]
    return total


def _products(rows: Floats) -> Floats:
    """(rows, (reach + 1)^2): of the kernel across and the one down."""
    return (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)


def _rings(pixels: Bytes, reach: int) -> tuple[Floats, Floats]:
    """For each pair of distances down and across: the sum of the pixels that lie so far away, and of their differences."""
    height, width, _ = pixels.shape
    wide = np.pad(pixels.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    sums, spreads = [], []
    for down in range(reach + 1):
        for across in range(reach + 1):
            places = {(i, j) for i in (down, -down) for j in (across, -across)}
            shown = [wide[reach + i : reach + i + height, reach + j : reach + j + width] for i, j in sorted(places)]
            sums.append(sum(part.reshape(-1) for part in shown))
            spreads.append(sum(np.abs(part - pixels).reshape(-1) for part in shown))
    return np.stack(sums), np.stack(spreads)


def _bytes(values: Floats) -> Bytes:
    return np.clip(values, 0, 255).astype(np.uint8)
