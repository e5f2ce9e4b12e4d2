"""The table of certified accuracy."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from dsmooth.records.changed import ChangedRun
from dsmooth.report.export import index_of, percent, table_cells
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.sections.curve import slider_radii
from dsmooth.report.summary import Summary

__all__ = ["Accuracy"]


class Accuracy(Section):
    """The share certified at each radius: a row for each run under each bound, and the upper envelope."""

    def _html(self, summary: Summary) -> Markup:
        heading, rows = table_cells(summary)
        return filled(
            Path(__file__).with_suffix(".html"),
            summary=summary,
            heading=heading,
            rows=list(zip(rows, _shares(summary), strict=True)),
            norm=index_of(summary.norm),
            several=not all(row.main for row in summary.rows),
            stopped=any(run.question.mode.looks for run in summary.runs),
            changed=any(row.certifier == ChangedRun.rule for row in summary.rows),
        )


def _shares(summary: Summary) -> list[str]:
    """For each row of the table, its shares at the radii of the slider: as many for a million images as for one."""
    radii = [float(radius) for radius in slider_radii(summary)]
    rows = [[row.share(radius) for radius in radii] for row in summary.rows]
    envelopes = [
        map(max, *(shares for row, shares in zip(summary.rows, rows, strict=True) if row.certifier == name))
        for name in summary.envelope
    ]
    return [" ".join(map(percent, shares)) for shares in [*rows, *envelopes]]
