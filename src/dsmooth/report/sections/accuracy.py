"""The table of certified accuracy."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from dsmooth.report.export import index_of, table_cells
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary

__all__ = ["Accuracy"]


class Accuracy(Section):
    """The share certified at each radius: a row for each run under each bound, and the upper envelope."""

    def _html(self, summary: Summary) -> Markup:
        heading, rows = table_cells(summary)
        template = Path(__file__).with_suffix(".html")
        return filled(template, summary=summary, heading=heading, rows=rows, norm=index_of(summary.norm))
