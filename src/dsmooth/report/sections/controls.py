"""The radius slider and the image filter: shown where the page's script runs."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from dsmooth.report.export import index_of
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.sections.curve import slider_radii
from dsmooth.report.summary import Summary

__all__ = ["Controls"]


class Controls(Section):
    """A bar that stays in view while scrolling, and controls the tables and pictures below it."""

    def _html(self, summary: Summary) -> Markup:
        template = Path(__file__).with_suffix(".html")
        return filled(template, radii=slider_radii(summary), norm=index_of(summary.norm), labelled=summary.labelled)
