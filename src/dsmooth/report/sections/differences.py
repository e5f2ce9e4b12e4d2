"""The table of what separates runs on the same images."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from dsmooth.report.export import difference_cells, index_of
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary

__all__ = ["Differences"]


class Differences(Section):
    """Each run compared with the first one, in pairs; nothing where no other can be."""

    def _html(self, summary: Summary) -> Markup | None:
        heading, rows = difference_cells(summary)
        if not rows:
            return None
        return filled(
            Path(__file__).with_suffix(".html"),
            first=summary.rows[0].name,
            heading=heading,
            rows=rows,
            norm=index_of(summary.norm),
        )
