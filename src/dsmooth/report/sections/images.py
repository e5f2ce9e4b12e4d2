"""The images of a run, with answer, radius and votes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from dsmooth.records.schema import Record
from dsmooth.records.store import Run
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import RunSection
from dsmooth.report.summary import Summary

__all__ = ["Images"]

_SHOWN: Final = 200  # images listed, a run; the records have all
_TOP: Final = 3  # labels with the most votes


class Images(RunSection):
    """The first images of the run; each label by its name, where names are known."""

    def _html(self, summary: Summary, run: Run) -> Markup:
        names = run.header.get("class_names") or []

        def called(label: int | str | None) -> str:
            if isinstance(label, int) and label < len(names):
                return f"{names[label]} ({label})"
            return "abstain" if label is None else str(label)

        def told(record: Record) -> dict[str, Any]:
            return {
                "name": record.name,
                "label": "" if record.label is None else called(record.label),
                "answer": called(record.answer),
                "right": record.label is not None and record.answer == record.label,
                "radius": record.radius,
                "votes": ", ".join(f"{called(label)} {count}" for label, count in record.estimation["counts"][:_TOP]),
                "missing": record.estimation["missing"],
                "samples": record.drawn,
            }

        records = sorted(run.records, key=lambda record: record.index)
        template = Path(__file__).with_suffix(".html")
        return filled(template, count=len(records), records=[told(record) for record in records[:_SHOWN]])
