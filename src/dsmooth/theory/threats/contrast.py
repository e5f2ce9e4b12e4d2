"""Contrast about the mean grey of the image."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar, Final

import numpy as np

from dsmooth.theory.threats.base import Bytes
from dsmooth.theory.threats.tables import IntervalThreat

__all__ = ["Contrast"]

_BLOCK: Final = 4096  # tables that are worked out at once
_SMALL: Final = 1 << 40  # whole numbers whose products with levels are sure to fit into 64 bits


@dataclass(frozen=True, slots=True)
class Contrast(IntervalThreat):
    """v becomes floor(m + c (v - m) + 1/2), cut off at 0 and 255, for every real c from `low` to `high`.

    m is the mean of the image's luma (ITU-R 601), both rounded to a whole level, as for Pillow's ImageEnhance.Contrast.
    Source: docs/theory.md, claim 29.
    """

    name: ClassVar[str] = "contrast"
    usage: ClassVar[str] = "contrast LOW HIGH"
    span: ClassVar[tuple[float, float]] = (0.0, 2.0)

    @property
    def by(self) -> str:
        """As in `Threat`."""
        return "contrast 1: about the mean grey, rounded half up, cut off at 0 and 255"

    def apply(self, pixels: Bytes, *parameters: float) -> Bytes:
        """As in `Threat`; the parameter is read as the decimal that it is written as."""
        (c,) = map(_exact, parameters)
        tables = _through(_mean_grey(pixels), np.array([c.numerator], object), np.array([c.denominator], object))
        made: Bytes = tables[0][pixels]
        return made

    def tables(self, pixels: Bytes) -> Bytes:
        """As in `TableThreat`."""
        return _tables(_mean_grey(pixels), self.low, self.high)


@lru_cache(maxsize=16)
def _tables(mean: int, low: float, high: float) -> Bytes:
    """The table at each place where a level jumps, and the one between two such places; whole numbers throughout."""
    first, last = _exact(low), _exact(high)
    jumps = {
        Fraction(odd, 2 * size)
        for size in range(1, max(mean, 255 - mean) + 1)
        for odd in range(1, int(2 * size * last) + 1, 2)
        if first < Fraction(odd, 2 * size) < last
    }
    places = sorted({first, last, *jumps})
    tops = np.array([place.numerator for place in places], dtype=object)
    bottoms = np.array([place.denominator for place in places], dtype=object)
    # the sum of two tops over that of the bottoms lies between two fractions
    between, below = tops[:-1] + tops[1:], bottoms[:-1] + bottoms[1:]
    order = np.argsort(np.concatenate([np.arange(len(places)), np.arange(len(places) - 1) + 0.5]))
    return _through(mean, np.concatenate([tops, between])[order], np.concatenate([bottoms, below])[order])


def _through(mean: int, tops: np.ndarray, bottoms: np.ndarray) -> Bytes:
    """The table for each contrast tops[i] / bottoms[i]."""
    kind = object if max(bottoms) > _SMALL else np.int64
    levels, tables = np.arange(256).astype(kind), np.empty((len(tops), 256), dtype=np.uint8)
    for first in range(0, len(tops), _BLOCK):
        top = tops[first : first + _BLOCK].astype(kind)[:, None]
        bottom = bottoms[first : first + _BLOCK].astype(kind)[:, None]
        values = (2 * bottom * mean + 2 * top * (levels - mean) + bottom) // (2 * bottom)
        tables[first : first + _BLOCK] = np.clip(values, 0, 255)
    return tables


def _mean_grey(pixels: Bytes) -> int:
    """The mean of the luma of an image (H, W, C), in whole levels, rounded half up."""
    wide = pixels.astype(np.int64)
    luma = wide if pixels.shape[2] != 3 else (wide @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
    return int((2 * int(luma.sum()) + luma.size) // (2 * luma.size))


def _exact(value: float) -> Fraction:
    """The decimal that the number is written as."""
    return Fraction(repr(float(value)))
