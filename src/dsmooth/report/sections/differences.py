"""The table of what separates runs on the same images."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from dsmooth.report.differences import differences
from dsmooth.report.export import difference_cells, index_of
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary

__all__ = ["Differences"]


class Differences(Section):
    """Each run compared with the first one, in pairs; nothing unless several finished runs share their labelled images."""

    def _html(self, summary: Summary) -> Markup | None:
        found = differences(summary)
        if not found:
            return None
        heading, rows = difference_cells(summary, found)
        first = next(row.name for row in summary.rows if row.run == 0)
        return filled(
            Path(__file__).with_suffix(".html"), first=first, heading=heading, rows=rows, norm=index_of(summary.norm)
        )
