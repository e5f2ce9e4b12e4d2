"""The nearest 8-bit image that is strictly inside a ball: attacks are floats, images and certificates are not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.images.pixels import Pixels
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.base import Law

__all__ = ["distance_text", "snap", "snap_covered"]

_SHARES = 101  # of an attack's length that are tried


def snap(pixels: Pixels, delta: npt.NDArray[Any], norm: float, radius: Fraction) -> Pixels:
    """pixels + delta as bytes, strictly closer to `pixels` than `radius` in l1, l2 or l_inf, rounded near delta.

    delta is in the scale [0, 1]. Coordinates are rounded to whole steps of 1/255; where that leaves the ball, those that
    were rounded outwards the most are rounded inwards instead.
    """
    steps = delta.astype(np.float64) * LEVELS
    whole = np.rint(steps).astype(np.int64)
    if norm == float("inf"):
        most = max(0, -(-LEVELS * radius // 1) - 1)  # the largest whole number below 255 R
        whole = np.clip(whole, -most, most)
    elif norm == 2.0:
        whole = _inside_l2(steps, whole, (LEVELS * radius) ** 2)
    elif norm == 1.0:
        whole = _inside_l1(steps, whole, max(0, -(-LEVELS * radius // 1) - 1))
    else:
        raise BadParameter(f"expected an attack in the norm 1, 2 or inf, got {norm:g}")
    moved: Pixels = np.clip(pixels.astype(np.int64) + whole, 0, LEVELS).astype(np.uint8)  # clipping moves inwards only
    return moved


def snap_covered(pixels: Pixels, delta: npt.NDArray[Any], law: Law, radius: Fraction) -> Pixels:
    """pixels + delta as bytes, delta shortened until the law's radius covers the change."""
    steps = delta.astype(np.float64) * LEVELS
    for share in np.linspace(1.0, 0.0, _SHARES):
        moved: Pixels = np.clip(np.rint(pixels + share * steps), 0, LEVELS).astype(np.uint8)
        if law.covers(moved.astype(np.int64) - pixels, radius):
            break
    return moved


def distance_text(a: Pixels, b: Pixels, norm: float) -> str:
    """The distance for people, six decimals."""
    steps = np.abs(a.astype(np.int64) - b.astype(np.int64))
    if norm == 1.0:
        distance = float(steps.sum())
    else:
        distance = float(steps.max()) if norm == float("inf") else float((steps**2).sum()) ** 0.5
    return f"{distance / LEVELS:.6f}"


def _inside_l2(steps: npt.NDArray[Any], whole: npt.NDArray[Any], square: Fraction) -> npt.NDArray[Any]:
    """Whole steps whose squares sum to less than `square`: one step inwards, where rounding went outwards the most."""
    flat = whole.flatten()  # a copy: the attack's arrays are transposed views
    order = np.argsort(np.abs(steps).flatten() - np.abs(flat), kind="stable")
    while (excess := int((flat**2).sum()) - square) >= 0 and flat.any():
        moving = order[flat[order] != 0]
        gains = np.cumsum(2 * np.abs(flat[moving]) - 1)
        chosen = moving[: int(np.searchsorted(gains, float(excess), side="right")) + 1]
        flat[chosen] -= np.sign(flat[chosen])
    return flat.reshape(whole.shape)


def _inside_l1(steps: npt.NDArray[Any], whole: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """Whole steps that sum to at most `most`: one step inwards at a time, where rounding went outwards the most."""
    flat = whole.flatten()
    while (excess := int(np.abs(flat).sum()) - most) > 0:
        order = np.argsort(np.abs(steps).flatten() - np.abs(flat), kind="stable")
        chosen = order[flat[order] != 0][:excess]
        flat[chosen] -= np.sign(flat[chosen])
    return flat.reshape(whole.shape)
