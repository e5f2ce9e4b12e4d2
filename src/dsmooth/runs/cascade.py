"""What the votes of a cascade's scales promise together, when they were asked for again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsmooth.records.cascade import CascadeRun
from dsmooth.records.schema import votes_from_json
from dsmooth.runs.replay import Replay
from dsmooth.runs.together import Left, promised_together
from dsmooth.runs.verify import Check
from dsmooth.theory.cascade import majority

__all__ = ["cascade_check"]


def cascade_check(run: CascadeRun, replays: Sequence[Mapping[str, Replay]]) -> Check:
    """What the scales' votes promise together, when all that may be wrong with them is charged against it.

    replays: for each scale those of its images, by name; nothing is charged where votes were not asked for again.
    """
    certificates = run.certificates()
    claims = sum(not certificate.abstained for certificate in certificates)
    told = f"{claims} certificates of {len(certificates)} images follow from the votes of {len(run.scales)} scales"
    drawn = [
        (record, asked.get(record.name))
        for scale, asked in zip(run.scales, replays, strict=True)
        for record in scale.records
    ]

    def lefts() -> list[Left]:
        doubtful = {(i, name): replay.doubtful for i, scale in enumerate(replays) for name, replay in scale.items()}
        moved = {
            record.name
            for record, replay in drawn
            if replay is not None and majority(replay.selection) != majority(votes_from_json(record.selection))
        }
        return [
            Left(record.name, claimed, None if record.name in moved else left)
            for record, claimed, left in zip(run.records, certificates, run.certificates(doubtful), strict=True)
        ]

    return promised_together("cascade", told, drawn, lefts, runs=len(run.scales), of="certificates of the cascade")
