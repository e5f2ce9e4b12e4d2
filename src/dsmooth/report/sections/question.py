"""What was asked of each image of a run, and the commitment to its key."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from dsmooth.records.store import Run
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import RunSection
from dsmooth.report.summary import Summary

__all__ = ["Asked"]


class Asked(RunSection):
    """Every field of the question that the certificates answer."""

    def _html(self, summary: Summary, run: Run) -> Markup:
        return filled(
            Path(__file__).with_suffix(".html"),
            question=run.question.to_json(),
            chosen_afterwards=run.chosen_afterwards,
            commitment=run.header.get("key_commitment", ""),
        )
