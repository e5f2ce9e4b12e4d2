"""The table of certified accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from dsmooth.report.export import index_of, table_cells
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import RunSummary, Summary
from dsmooth.theory.bounds import round_down

__all__ = ["Accuracy"]


class Accuracy(Section):
    """The share certified at each radius: a row for each run under each bound, and the upper envelope."""

    def _html(self, summary: Summary) -> Markup:
        heading, rows = table_cells(summary)
        moving = [_of_run(row) for row in summary.rows] + [{"envelope": name} for name in summary.envelope]
        return filled(
            Path(__file__).with_suffix(".html"),
            summary=summary,
            heading=heading,
            rows=list(zip(rows, moving, strict=True)),
            norm=index_of(summary.norm),
            several=not all(row.main for row in summary.rows),
            stopped=any(run.question.mode.looks for run in summary.runs),
        )


def _of_run(row: RunSummary) -> dict[str, Any]:
    """What the script needs to say the share at any radius."""
    return {
        "bound": row.certifier,
        "images": len(row.labels),
        "radii": " ".join(round_down(radius, 9) for radius in row.reached.tolist()),
    }
