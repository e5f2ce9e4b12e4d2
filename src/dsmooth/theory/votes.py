"""Votes: how many answers went to each label, and what may be concluded from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_count, shown

__all__ = ["Label", "Phase", "StoppedVotes", "Votes", "check_label", "counted", "is_utf8", "selected"]

Label = int | str
"""What a classifier answers: a class index, or the name that an API gives."""

_MOST: Final = 10**12
"""Of trials, and of a class index on either side of 0: what certificate files can hold."""


def check_label(value: object) -> Label:
    """The label itself: an integer of Python or NumPy up to 1e12, or text that can be written as UTF-8.

    Raises BadParameter otherwise, also for True: a classifier that answers so means something else than class 1.
    """
    if isinstance(value, str) and is_utf8(value):
        return str(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and -_MOST <= int(value) <= _MOST:
        return int(value)
    raise BadParameter(
        f"expected a label as a whole number up to 1e12 or text in UTF-8, got {type(value).__name__} {shown(value)[:80]}"
    )


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold it: not half a character, which JSON can say."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Phase(StrEnum):
    """The purpose of votes; each phase has its own noise stream."""

    SELECTION = "selection"
    ESTIMATION = "estimation"
    PREDICTION = "prediction"
    PROBE = "probe"
    BOUND = "bound"
    """No votes: W of a randomised bound."""


@dataclass(frozen=True, slots=True)
class Votes:
    """How many of `trials` answers went to each label; the trials without a usable answer are `missing`."""

    counts: Mapping[Label, int]
    trials: int

    def __post_init__(self) -> None:
        trials = check_count(self.trials, "trials", least=0, most=_MOST)
        counts: dict[Label, int] = {}
        for label, votes in self.counts.items():
            if count := check_count(votes, "a count of votes", least=0, most=_MOST):
                counts[check_label(label)] = count
        if sum(counts.values()) > trials:
            raise BadParameter(f"expected counts of at least 0 that sum to at most {trials} trials, got {counts}")
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "counts", counts)

    @property
    def missing(self) -> int:
        """Trials without a usable answer: failed queries, NaN rows, unknown labels."""
        return self.trials - sum(self.counts.values())

    def of(self, label: Label) -> int:
        """The votes for this label."""
        return self.counts.get(label, 0)

    def ranked(self) -> list[tuple[Label, int]]:
        """Labels by falling count, ties in order of label: the order depends only on the counts."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], str(type(item[0])), item[0]))

    def strongest_rival(self, label: Label) -> int:
        """The most votes that another label can have had, with the missing ones counted as its own."""
        return max((count for other, count in self.counts.items() if other != label), default=0) + self.missing


def counted(labels: Sequence[Label | None]) -> Votes:
    """The votes of so many trials; None is a trial without one."""
    return Votes(Counter(label for label in labels if label is not None), len(labels))


@dataclass(frozen=True, slots=True)
class StoppedVotes:
    """Votes whose number depends on the votes themselves. Only the stopping rule can conclude anything from them.

    Deliberately not `Votes`: a bound for a number of trials fixed in advance, applied at a chosen moment, is wrong far more
    often than its alpha (from 5 % to 18 % with 20 looks).
    """

    last: Votes
    """All votes counted until the rule stopped."""
    best: Votes
    """The votes at the look at which the rule certified the most; none if it never certified anything."""

    def __post_init__(self) -> None:
        part = self.best.missing <= self.last.missing and all(
            count <= self.last.of(label) for label, count in self.best.counts.items()
        )
        if not part:
            raise BadParameter(f"expected votes of an earlier look among {self.last}, got {self.best}")


def selected(selection: Votes) -> Label | None:
    """The label to certify, chosen from the selection votes alone, so that the estimation votes stay independent of it."""
    if selection.trials < 1:
        raise BadParameter("expected at least one vote to select the label, got none")
    ranked = selection.ranked()
    return ranked[0][0] if ranked else None
