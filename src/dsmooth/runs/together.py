"""What several runs promise together, such as the scales of a cascade, when their votes were recomputed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from dsmooth.records.schema import Record
from dsmooth.runs.agreement import CONFIDENCE
from dsmooth.runs.replay import Replay
from dsmooth.runs.verify import Check, Outcome
from dsmooth.runs.weaker import Weaker, less_of, weakest
from dsmooth.theory.cascade import CascadeCertificate
from dsmooth.theory.certifiers import Certificate

__all__ = ["Left", "promised_together"]


class Left(NamedTuple):
    """A claim that rests on several runs together, and what is left of it when all that may be wrong is charged."""

    name: str
    claimed: Certificate | CascadeCertificate
    left: Certificate | CascadeCertificate | None
    """None where votes that choose the answer are others."""


def promised_together(
    what: str,
    told: str,
    drawn: Sequence[tuple[Record, Replay | None]],
    lefts: Callable[[], Iterable[Left]],
    *,
    runs: int,
    of: str = "claims",
) -> Check:
    """The check of claims that rest on several runs.

    drawn: the records of all of them, each with its replay. Where one has none, because votes were not recomputed or a
    replay before it failed, nothing is charged. lefts: what is left of each claim; called where all have a replay.
    """
    replays = [replay for _, replay in drawn if replay is not None]
    if len(replays) < len(drawn):
        return Check(what, Outcome.HOLDS, told)
    claims = lost = 0
    weaker: list[Weaker] = []
    for name, claimed, left in lefts():
        if claimed.abstained:
            continue
        claims += 1
        if left is None or left.abstained:
            lost += 1
        elif left.radius < claimed.radius:
            weaker.append(Weaker(name, claimed.radius, left))
    if lost:
        detail = f"{told}; {lost} of them fail if the votes that may be wrong are charged against them"
        return Check(what, Outcome.OPEN, detail, "a larger --share, or --all")
    partly = any(
        replay.asked != record.selection["trials"] + record.estimation["trials"]
        for (record, _), replay in zip(drawn, replays, strict=True)
    )
    added = f"; with {runs * CONFIDENCE:g} added to alpha" if partly and weaker else ""
    return Check(what, Outcome.HOLDS, f"{told}{weakest(weaker)}{added}", less=less_of(len(weaker), claims, of))
