"""Votes: how many answers went to each label, and how that may be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dsmooth.errors import BadParameter

__all__ = ["Label", "Phase", "StoppedVotes", "Votes", "selected"]

Label = int | str
"""What a classifier answers: a class index, or the name that an API gives."""


class Phase(StrEnum):
    """What votes are for; each phase has its own stream of noise."""

    SELECTION = "selection"
    ESTIMATION = "estimation"
    PREDICTION = "prediction"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Votes:
    """How many of `trials` answers went to each label; the trials without a usable answer are `missing`."""

    counts: Mapping[Label, int]
    trials: int

    def __post_init__(self) -> None:
        counts = {label: int(count) for label, count in self.counts.items() if count != 0}
        if self.trials < 0 or any(count < 0 for count in counts.values()) or sum(counts.values()) > self.trials:
            raise BadParameter(f"expected counts of at least 0 that sum to at most {self.trials} trials, got {counts}")
        object.__setattr__(self, "counts", counts)

    @property
    def missing(self) -> int:
        """Trials without a usable answer: failed queries, NaN rows, unknown labels."""
        return self.trials - sum(self.counts.values())

    def of(self, label: Label) -> int:
        """The votes for this label."""
        return self.counts.get(label, 0)

    def ranked(self) -> list[tuple[Label, int]]:
        """Labels by falling count; equal counts in order of label, so that the order is a function of the counts."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], str(type(item[0])), item[0]))

    def strongest_rival(self, label: Label) -> int:
        """The most votes that a label other than this one can have had: the missing count as its votes."""
        return max((count for other, count in self.counts.items() if other != label), default=0) + self.missing


@dataclass(frozen=True, slots=True)
class StoppedVotes:
    """Votes whose number was decided by looking at them. Only the rule that looked can conclude anything from them.

    Deliberately not `Votes`: a bound for a number of trials fixed in advance, applied at the moment of one's choice,
    is wrong far more often than its alpha (from 5 % to 18 % with 20 looks).
    """

    last: Votes
    """All that were counted until the rule stopped."""
    best: Votes
    """Those counted at the look at which the rule held the most; none where it never held anything."""

    def __post_init__(self) -> None:
        part = self.best.missing <= self.last.missing and all(
            count <= self.last.of(label) for label, count in self.best.counts.items()
        )
        if not part:
            raise BadParameter(f"expected votes of an earlier look among {self.last}, got {self.best}")


def selected(selection: Votes) -> Label | None:
    """The label to be certified, from the selection votes alone: anything else would spend the estimation twice."""
    if selection.trials < 1:
        raise BadParameter("expected at least one vote to select the label, got none")
    ranked = selection.ranked()
    return ranked[0][0] if ranked else None
