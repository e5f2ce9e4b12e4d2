"""What the votes of a cascade's scales promise together, when they were asked for again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dsmooth.records.cascade import CascadeRun
from dsmooth.records.schema import votes_from_json
from dsmooth.runs.replay import Replay
from dsmooth.runs.verify import Check, Outcome
from dsmooth.theory.bounds import round_down
from dsmooth.theory.cascade import majority

__all__ = ["cascade_check"]

_NAMED: Final = 5
"""Claims of a smaller radius that are named; the others are counted."""


def cascade_check(run: CascadeRun, replays: Sequence[Mapping[str, Replay]]) -> Check:
    """What the scales' votes promise together, when all that may be wrong with them is charged against it.

    replays: for each scale those of its images, by name; nothing is charged where votes were not asked for again.
    """
    certificates = run.certificates()
    claims = sum(not certificate.abstained for certificate in certificates)
    told = f"{claims} certificates of {len(certificates)} images follow from the votes of {len(run.scales)} scales"
    if not all(replays):
        return Check("cascade", Outcome.HOLDS, told)
    doubtful = {(i, name): replay.doubtful for i, scale in enumerate(replays) for name, replay in scale.items()}
    moved = {
        record.name
        for scale, asked in zip(run.scales, replays, strict=True)
        for record in scale.records
        if majority(asked[record.name].selection) != majority(votes_from_json(record.selection))
    }
    lost, weaker = 0, []
    for record, claimed, left in zip(run.records, certificates, run.certificates(doubtful), strict=True):
        if claimed.abstained:
            continue
        if left.abstained or record.name in moved:
            lost += 1
        elif left.radius < claimed.radius:
            weaker.append((left.radius / claimed.radius, record.name, left, claimed))
    if lost:
        detail = f"{told}; {lost} of them do not survive what may be wrong with their votes"
        return Check("cascade", Outcome.OPEN, detail, "a larger --share, or --all")
    named = [
        f"{name}: verified within l{left.norm:g} {round_down(left.radius)} (claimed {round_down(claimed.radius)})"
        for _, name, left, claimed in sorted(weaker)[:_NAMED]
    ]
    more = [f"and {len(weaker) - _NAMED} more"] if len(weaker) > _NAMED else []
    return Check("cascade", Outcome.HOLDS, "; ".join((told, *named, *more)))
