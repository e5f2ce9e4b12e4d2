"""Rotations about the centre by any angle up to a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.threats.base import Boxes, Bytes, Threat, check_range

__all__ = ["MOST_SIDE", "Rotation", "grid"]

MOST_SIDE: Final = 64
"""Pixels: of larger images there would be thousands of centres."""

_STEPS: Final = 50  # cells of a degree
_BLOCK: Final = 32  # angles that are worked out at once
_SLACK: Final = 1e-2  # levels: more than bilinear interpolation in float32 is wrong by

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rotation(Threat):
    """Rotated about the centre by every real angle from -`degrees` to `degrees`, counter-clockwise, size unchanged.

    A pixel of the turned image gets the bilinear interpolant of the image, which is black all around, at the place where it
    comes from, rounded to the nearest level: as torch's grid_sample (zeros, align_corners=False) and torchvision's rotate of
    tensors do. Any rounding of halves is covered, and any program that is wrong by less than .01 of a level.
    Source: docs/theory.md, claim 29.
    """

    degrees: float

    name: ClassVar[str] = "rotation"
    usage: ClassVar[str] = "rotation DEGREES"

    def __post_init__(self) -> None:
        object.__setattr__(self, "degrees", check_range("the degrees of a rotation", self.degrees, 0.02, 45.0))

    @property
    def words(self) -> str:
        """As in `Threat`."""
        return f"rotation by up to {self.degrees:g} degrees either way"

    @property
    def by(self) -> str:
        """As in `Threat`."""
        return "rotation 1: bilinear, rounded to the nearest level, black outside"

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """As in `Threat`."""
        return ((-self.degrees, self.degrees),)

    def check(self, shape: Sequence[int]) -> None:
        """As in `Threat`."""
        if max(shape[:2]) > MOST_SIDE:
            raise BadParameter(
                f"covers of rotations are for images of at most {MOST_SIDE} pixels a side, got {shape[0]} x {shape[1]}"
            )

    def apply(self, pixels: Bytes, *parameters: float) -> Bytes:
        """As in `Threat`; halves are rounded up."""
        return _Turn(pixels).at(np.radians(np.array(parameters, dtype=np.float64)))[0].reshape(pixels.shape)

    def boxes(self, pixels: Bytes) -> Boxes:
        """As in `Threat`: a box for each fiftieth of a degree."""
        ends = np.radians(grid(-self.degrees, self.degrees, _STEPS))
        middles, halves = (ends[1:] + ends[:-1]) / 2, (ends[1:] - ends[:-1]) / 2
        turn = _Turn(pixels)
        parts = [turn.box(middles[i : i + _BLOCK], halves[i : i + _BLOCK]) for i in range(0, len(middles), _BLOCK)]
        at = [turn.at(ends[i : i + _BLOCK]) for i in range(0, len(ends), _BLOCK)]
        low, high = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        return Boxes(low, high, np.concatenate(at), pixels.reshape(-1))


def grid(low: float, high: float, steps: int) -> Floats:
    """The two ends, and between them all multiples of 1 / steps."""
    inside = np.arange(math.ceil(low * steps), math.floor(high * steps) + 1) / steps
    return np.unique(np.concatenate([[low], inside[(inside > low) & (inside < high)], [high]]))


class _Turn:
    """The bilinear interpolant of an image with black around it, at turned pixels."""

    def __init__(self, pixels: Bytes) -> None:
        self.height, self.width, self.channels = pixels.shape
        framed = np.pad(pixels.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
        across, down = np.abs(np.diff(framed, axis=1)), np.abs(np.diff(framed, axis=0))
        self.columns = self.width + 1  # cells between four pixel centres, in a row of the framed image
        corners = (framed[:-1, :-1], framed[:-1, 1:], framed[1:, :-1], framed[1:, 1:])
        self.corners = [corner.reshape(-1, self.channels) for corner in corners]
        self.steep_x = np.maximum(across[:-1], across[1:]).reshape(-1, self.channels)
        """The largest slope across in each cell; likewise down."""
        self.steep_y = np.maximum(down[:, :-1], down[:, 1:]).reshape(-1, self.channels)
        self.x = np.arange(self.width) + 0.5 - self.width / 2
        self.y = (np.arange(self.height) + 0.5 - self.height / 2)[:, None]

    def at(self, angles: Floats) -> Bytes:
        """(angles, bytes): the turned images."""
        return _bytes(self._value(*self._places(angles)) + 0.5 + 1e-9)

    def box(self, angles: Floats, halves: Floats) -> tuple[Bytes, Bytes]:
        """Bounds on the turned images of all angles that are at most so far from these."""
        u, v = self._places(angles)
        half = halves[:, None, None]
        far = half * np.hypot(self.x, self.y)
        # d u / d angle is the distance of v from the middle, which changes by at most `far` in the cell; likewise v
        du = half * (np.abs(v - self.height / 2) + far)
        dv = half * (np.abs(u - self.width / 2) + far)
        bound = _SLACK + self._rise(u, v, du, dv)
        value = self._value(u, v) + 0.5
        return _bytes(value - bound), _bytes(value + bound)

    def _places(self, angles: Floats) -> tuple[Floats, Floats]:
        """(angles, H, W): where each pixel comes from, across and down, in pixels from the edge of the image."""
        cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
        return self.width / 2 + cos * self.x - sin * self.y, self.height / 2 + sin * self.x + cos * self.y

    def _cell(self, u: Floats, v: Floats) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
        """The cell of a place, and where in it; a place farther outside counts as one on the rim, where all is black."""
        across, down = np.clip(u + 0.5, 0, self.width + 1), np.clip(v + 0.5, 0, self.height + 1)
        column = np.minimum(across.astype(np.intp), self.width)
        row = np.minimum(down.astype(np.intp), self.height)
        return row * self.columns + column, across - column, down - row

    def _value(self, u: Floats, v: Floats) -> npt.NDArray[Any]:
        cell, dx, dy = self._cell(u, v)
        weights = ((1 - dx) * (1 - dy), dx * (1 - dy), (1 - dx) * dy, dx * dy)
        value: Floats = sum(
            (weight[..., None] * corner[cell] for weight, corner in zip(weights, self.corners, strict=True)),
            np.zeros((*u.shape, self.channels)),
        )
        return value

    def _rise(self, u: Floats, v: Floats, du: Floats, dv: Floats) -> Floats:
        """The most by which the interpolant changes between places that are at most du and dv apart from these.

        They are less than half a pixel, so the places are in four cells at most, those of the corners.
        """
        rise = np.zeros((*u.shape, self.channels))
        cells = [self._cell(u + i * du, v + j * dv)[0] for i in (-1, 1) for j in (-1, 1)]
        for way, steep in ((du, self.steep_x), (dv, self.steep_y)):
            most = steep[cells[0]]
            for cell in cells[1:]:
                most = np.maximum(most, steep[cell])
            rise += way[..., None] * most
        return rise


def _bytes(values: Floats) -> Bytes:
    return np.clip(np.floor(values), 0, 255).astype(np.uint8).reshape(len(values), -1)
