"""The images of all runs, side by side: picture, label, and each run's answer, radius and votes."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from dsmooth.records.clean_answers import clean_answers
from dsmooth.records.record_file import in_order
from dsmooth.records.repeats import mark
from dsmooth.records.schema import Record
from dsmooth.records.store import Run
from dsmooth.records.thumbnails import LOOKS, THUMBNAILS, Pictures
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary, marked
from dsmooth.theory.bounds import round_down

__all__ = ["Images"]

_LISTED: Final = 2000  # images, the first ones; the records have all
_PICTURES: Final = 500  # of them with a picture: about a megabyte
_BYTES: Final = 2_400_000  # of all pictures in the page: the first images have noisy and denoised ones while these last
_TOP: Final = 3  # labels with the most votes


class Images(Section):
    """A row for each image; runs share a row where name, pixels and label agree."""

    def _html(self, summary: Summary) -> Markup:
        listed, count = _listed(summary.runs)
        shown = [_row(summary, row, place=i, pictured=i < _PICTURES) for i, row in enumerate(listed)]
        looked = _add_looks(summary, listed, shown)
        return filled(
            Path(__file__).with_suffix(".html"),
            count=count,
            pictures=_PICTURES,
            looks=sum(bool(row["looks"]) for row in shown),
            all_looked=looked,
            rows=shown,
            counted=len({record.drawn for run in summary.runs for record in run.records}) > 1,
            pictured=any(row["picture"] or row["looks"] for row in shown),
            runs=[{"name": marked(run), "rule": run.question.rule} for run in summary.runs],
        )


def _listed(runs: Sequence[Run]) -> tuple[list[dict[int, Record]], int]:
    """The first images of all runs, each with the record of every run that has it, and the number of all images."""
    rows: dict[tuple[str, str, int | None], dict[int, Record]] = {}
    marks = array("Q")
    for place, run in enumerate(runs):
        for record in in_order(run.records):
            key = (record.name, record.image, record.label)
            marks.append(mark(repr(key)))
            if key in rows or len(rows) < _LISTED:
                rows.setdefault(key, {})[place] = record
    return list(rows.values()), len(np.unique(np.frombuffer(marks, np.uint64)))


def _row(summary: Summary, records: dict[int, Record], *, place: int, pictured: bool) -> dict[str, Any]:
    run, first = next((summary.runs[i], record) for i, record in records.items())
    cells = [_cell(run, records[i]) if i in records else None for i, run in enumerate(summary.runs)]
    return {
        "place": place,
        "picture": _picture(summary, records) if pictured else "",
        "name": first.name,
        "label": "" if first.label is None else run.label_name(first.label),
        "cells": cells,
        "looks": [],
    }


def _picture(summary: Summary, records: dict[int, Record]) -> str:
    """The source of an <img>, from the first of the runs that has the image's picture; else nothing."""
    found = (_source(THUMBNAILS, summary.runs[place], record) for place, record in records.items())
    return next(filter(None, found), "")


def _add_looks(summary: Summary, listed: list[dict[int, Record]], shown: list[dict[str, Any]]) -> bool:
    """Each row gets the noisy and denoised pictures that its runs hold; False where the page has no room for all of them."""
    left = _BYTES - sum(len(row["picture"]) for row in shown)
    alone = [clean_answers(run.folder, run.records) for run in summary.runs]
    for records, row in zip(listed, shown, strict=True):
        for place, record in records.items():
            run = summary.runs[place]
            if source := _source(LOOKS, run, record):
                left -= len(source)
                if left < 0:
                    row["looks"] = []
                    return False
                cell = row["cells"][place]
                told = f"{marked(run)}: {cell['answer']}" + (f", radius {cell['radius']}" if cell["radius"] else "")
                if (answer := alone[place].get(record.image)) is not None:
                    told += f"; the classifier alone, without noise: {run.label_name(answer)}"
                denoised = run.question.denoiser is not None
                row["looks"].append(
                    {"source": source, "told": told, "law": str(run.question.law), "denoised": denoised}
                )
    return True


def _source(pictures: Pictures, run: Run, record: Record) -> str:
    """The picture as the source of an <img>; nothing where the run has none."""
    picture = pictures.read(run.folder, record.index)
    return "" if picture is None else f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


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
