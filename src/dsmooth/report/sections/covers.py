"""How many images keep their answer under a whole family of transformations, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from markupsafe import Markup

from dsmooth.records.schema import Record
from dsmooth.records.store import Run
from dsmooth.report.export import percent
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import RunSection
from dsmooth.report.summary import Summary, marked

__all__ = ["Covers"]


class Covers(RunSection):
    """A row for each cover radius that was chosen; nothing for runs that are not against a family."""

    def _html(self, summary: Summary, run: Run) -> Markup | None:
        threat = run.question.mode.against
        if threat is None:
            return None
        chosen: dict[str, list[Record]] = {}
        for record in run.records:
            chosen.setdefault(str((record.cover or {}).get("rho")), []).append(record)
        rows = [_row(f"{float(rho):g}", chosen[rho], len(run.records)) for rho in sorted(chosen, key=float)]
        return filled(
            Path(__file__).with_suffix(".html"),
            name=marked(run),
            threat=threat.words,
            makers=sorted({str((record.cover or {}).get("by")) for record in run.records}),
            labelled=summary.labelled,
            rows=[*rows, _row("all", run.records, len(run.records))],
        )


def _row(rho: str, records: Sequence[Record], images: int) -> dict[str, Any]:
    kept = [record for record in records if record.answer is not None and record.label in (None, record.answer)]
    return {
        "rho": rho,
        "images": len(records),
        "kept": percent(len(kept) / images),
        "centres": f"{median(len((record.cover or {})['centres']) for record in records):g}",
        "votes": f"{median(record.drawn for record in records):,.0f}",
    }
