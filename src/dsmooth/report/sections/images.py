"""The images of all runs, side by side: picture, label, and each run's answer, radius and votes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from dsmooth.records.schema import Record
from dsmooth.records.store import Run
from dsmooth.records.thumbnails import read_thumbnail
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary, marked
from dsmooth.theory.bounds import round_down

__all__ = ["Images"]

_LISTED: Final = 2000  # images, the first ones; the records have all
_PICTURES: Final = 500  # of them with a picture: about a megabyte
_TOP: Final = 3  # labels with the most votes


class Images(Section):
    """A row for each image; an image of several runs is the one of that name with the same pixels and label."""

    def _html(self, summary: Summary) -> Markup:
        rows: dict[tuple[str, str, int | None], dict[int, Record]] = {}
        for place, run in enumerate(summary.runs):
            for record in sorted(run.records, key=lambda record: record.index):
                rows.setdefault((record.name, record.image, record.label), {})[place] = record
        listed = list(rows.values())[:_LISTED]
        shown = [_row(summary, row, pictured=i < _PICTURES) for i, row in enumerate(listed)]
        return filled(
            Path(__file__).with_suffix(".html"),
            count=len(rows),
            pictures=_PICTURES,
            rows=shown,
            counted=len({record.drawn for run in summary.runs for record in run.records}) > 1,
            pictured=any(row["picture"] for row in shown),
            runs=[{"name": marked(run), "rule": run.question.rule} for run in summary.runs],
        )


def _row(summary: Summary, records: dict[int, Record], *, pictured: bool) -> dict[str, Any]:
    place, first = next(iter(records.items()))
    cells = [_cell(run, records[i]) if i in records else None for i, run in enumerate(summary.runs)]
    return {
        "picture": _picture(summary, records) if pictured else "",
        "name": first.name,
        "label": "" if first.label is None else summary.runs[place].label_name(first.label),
        "cells": cells,
    }


def _picture(summary: Summary, records: dict[int, Record]) -> str:
    """The source of an <img>, from the first of the runs that has the image's picture; else nothing."""
    for place, record in records.items():
        if picture := read_thumbnail(summary.runs[place].folder, record.index):
            return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    return ""


def _cell(run: Run, record: Record) -> dict[str, Any]:
    """What one run says of an image."""
    if record.answer is None:
        state = "none"
    elif record.label is None:
        state = "certified"
    else:
        state = "right" if record.answer == record.label else "wrong"
    votes = [f"{run.label_name(label)} {count}" for label, count in record.estimation["counts"][:_TOP]]
    if record.estimation["missing"]:
        votes.append(f"missing {record.estimation['missing']}")
    return {
        "state": state,
        "answer": "abstains" if record.answer is None else run.label_name(record.answer),
        "exact": record.radius,
        "radius": "" if record.answer is None else round_down(float(record.radius)),
        "votes": ", ".join(votes),
        "samples": record.drawn,
    }
