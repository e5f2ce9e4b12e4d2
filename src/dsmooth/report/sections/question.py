"""The settings of a run, the commitment to its key, and its witness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from dsmooth.records.store import Run
from dsmooth.records.witness import key_line
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import RunSection
from dsmooth.report.summary import Summary, marked

__all__ = ["Asked"]


class Asked(RunSection):
    """Every field of the question that the certificates answer."""

    def _html(self, summary: Summary, run: Run) -> Markup:
        return filled(
            Path(__file__).with_suffix(".html"),
            name=marked(run),
            run=run,
            question={name: _told(value) for name, value in run.question.to_json().items()},
            key=key_line(run.header, run.question.law),
            commitment=run.header.get("key_commitment", ""),
        )


def _told(value: Any) -> str:
    """A field of a question; laws and modes by name, with their parameters."""
    if isinstance(value, dict):
        return ", ".join([value["name"], *(f"{name} {_told(part)}" for name, part in value.items() if name != "name")])
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "none" if value is None else str(value)
