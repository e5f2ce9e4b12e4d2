"""How the runs of a summary differ from the first of them, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsmooth.report.summary import RunSummary, Summary
from dsmooth.theory.comparison import MeanDifference, mean_difference, sign_test

__all__ = ["Difference", "Exchange", "differences"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """At one radius: the images that only one of two runs certifies for the right label, and the sign test's p-value."""

    gained: int
    lost: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A run compared with the first one, on the same images and under the same bound."""

    name: str
    certifier: str
    average_radius: MeanDifference
    """Of the radii, 0 where an image is not certified for the right label."""
    exchanges: tuple[Exchange, ...]
    """By radius of the summary."""


def differences(summary: Summary) -> list[Difference]:
    """The runs that can be compared with the first, each under every bound under which both stand.

    Both must be finished, on the same images with the same labels, and without options chosen afterwards; where they stop
    early, for the same radii. Scales of a cascade are never compared. Copies of an image count as one.
    """
    first, *others = summary.rows
    firsts = [first, *(row for row in others if row.run == first.run)]
    pairs = ((row, first) for row in others for first in firsts if row.run != first.run)
    return [_difference(first, row, summary.radii) for row, first in pairs if _comparable(summary, first, row)]


def _comparable(summary: Summary, first: RunSummary, other: RunSummary) -> bool:
    if other.run >= len(summary.runs):  # what several runs certify together
        return False
    modes = [summary.runs[row.run].question.mode for row in (first, other)]
    return (
        first.certifier == other.certifier
        and first.images == other.images
        and first.least is not None
        and other.least is not None
        and modes[0].radii == modes[1].radii
    )


def _difference(first: RunSummary, other: RunSummary, radii: tuple[float, ...]) -> Difference:
    assert first.least is not None
    assert other.least is not None
    exchanges = []
    for radius in radii:
        before, after = first.least > radius, other.least > radius
        gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
        exchanges.append(Exchange(gained, lost, sign_test(lost, gained)))
    average = mean_difference(np.maximum(first.least, 0.0), np.maximum(other.least, 0.0))
    return Difference(other.name, other.certifier, average, tuple(exchanges))
