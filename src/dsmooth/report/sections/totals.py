"""Samples, seconds, and the failure probability of every certificate."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from dsmooth.report.export import saving
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary

__all__ = ["Totals"]


class Totals(Section):
    """One paragraph under the title."""

    def _html(self, summary: Summary) -> Markup:
        return filled(
            Path(__file__).with_suffix(".html"),
            summary=summary,
            saving=saving(summary.samples_if_fixed, summary.samples),
            doubtful=any(run.chosen_afterwards or not run.addressed for run in summary.runs),
        )
