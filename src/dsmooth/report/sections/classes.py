"""The classes of a run, each by itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from dsmooth.records.schema import Record
from dsmooth.records.store import Run
from dsmooth.report.export import index_of, percent
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import RunSection
from dsmooth.report.summary import Summary, marked
from dsmooth.theory.cascade import CascadeCertificate
from dsmooth.theory.certifiers import Certificate

__all__ = ["Classes"]

_OPEN: Final = 20  # more classes than these are folded away


class Classes(RunSection):
    """A row for each true class, in their order; nothing where labels are missing or all the same."""

    def _html(self, summary: Summary, run: Run) -> Markup | None:
        row = next(row for row in summary.rows if row.main and summary.runs[row.run] is run)
        members: dict[int, list[tuple[Record, Certificate | CascadeCertificate]]] = {}
        records = sorted(run.records, key=lambda record: record.index)
        for record, certificate in zip(records, row.certificates, strict=True):
            if record.label is None:
                return None
            members.setdefault(record.label, []).append((record, certificate))
        if len(members) < 2:
            return None
        return filled(
            Path(__file__).with_suffix(".html"),
            name=marked(run),
            rule=row.certifier,
            norm=index_of(summary.norm),
            radii=[f"{radius:.12g}" for radius in summary.radii],
            rows=[_row(run, label, members[label], summary.radii) for label in sorted(members)],
            unfolded=len(members) <= _OPEN,
        )


def _row(
    run: Run, label: int, members: list[tuple[Record, Certificate | CascadeCertificate]], radii: tuple[float, ...]
) -> dict[str, Any]:
    wrong = Counter(c.answer for _, c in members if c.answer is not None and c.answer != label)
    mistaken = ", ".join(f"{run.label_name(answer)} {count}" for answer, count in wrong.most_common(2))
    return {
        "name": run.label_name(label),
        "images": len(members),
        "shares": [
            percent(sum(c.answer == label and c.radius > radius for _, c in members) / len(members)) for radius in radii
        ],
        "wrong": percent(wrong.total() / len(members), up=True),
        "abstained": percent(sum(c.abstained for _, c in members) / len(members), up=True),
        "mistaken": mistaken,
    }
