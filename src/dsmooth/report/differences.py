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
    """Every run but the first, compared with the first: under each bound under which all stand.

    Empty unless there are several finished runs on the same labelled images, none with options chosen afterwards. Copies of
    an image count as one.
    """
    found = []
    for certifier in summary.envelope:
        first, *others = sorted((row for row in summary.rows if row.certifier == certifier), key=lambda row: row.run)
        found += [made for other in others if (made := _difference(first, other, summary.radii)) is not None]
    return found


def _difference(first: RunSummary, other: RunSummary, radii: tuple[float, ...]) -> Difference | None:
    if first.least is None or other.least is None:
        return None
    exchanges = []
    for radius in radii:
        before, after = first.least > radius, other.least > radius
        gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
        exchanges.append(Exchange(gained, lost, sign_test(lost, gained)))
    average = mean_difference(np.maximum(first.least, 0.0), np.maximum(other.least, 0.0))
    return Difference(other.name, other.certifier, average, tuple(exchanges))
