"""The records of runs as a table for other programs: a row for each image."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from dsmooth.errors import require
from dsmooth.records.schema import Record

if TYPE_CHECKING:
    from dsmooth.records.store import Run

__all__ = ["COLUMNS", "csv_of", "frame_of", "parquet_of"]

_TEXT, _WHOLE, _NUMBER, _TRUTH = "string", "Int64", "float64", "boolean"

COLUMNS: Final = {
    "run": _TEXT,
    "index": _WHOLE,
    "name": _TEXT,
    "label": _WHOLE,
    "label_name": _TEXT,
    "answer": _WHOLE,
    "answer_name": _TEXT,
    "right": _TRUTH,
    "radius": _NUMBER,
    "norm": _NUMBER,
    "noise": _TEXT,
    "bound": _TEXT,
    "against": _TEXT,
    "alpha": _NUMBER,
    "chosen_afterwards": _TRUTH,
    "votes": _TEXT,
    "missing": _WHOLE,
    "trials": _WHOLE,
    "drawn": _WHOLE,
    "seconds": _NUMBER,
    "image": _TEXT,
}
"""Name and pandas type of each column.

answer: missing where the smoothed classifier abstains; text, where labels are. right: missing where the label is unknown; an
abstention is not right. against: the family of transformations that the answer holds for, too; missing where there is none.
radius: rounded down, 0 for an abstention. votes: [[label, count], ...] of the estimation, as JSON. image: its digest.
"""


def frame_of(runs: Sequence[Run]) -> Any:
    """A pandas.DataFrame with the columns of COLUMNS; raises MissingPackage where pandas is not installed."""
    pandas = require("pandas", "table")
    rows = _rows(runs)
    kinds = COLUMNS if all(not isinstance(row["answer"], str) for row in rows) else {**COLUMNS, "answer": _TEXT}
    return pandas.DataFrame(
        {name: pandas.array([_as(kind, row[name]) for row in rows], dtype=kind) for name, kind in kinds.items()}
    )


def parquet_of(runs: Sequence[Run]) -> bytes:
    """The same table as a Parquet file; raises MissingPackage where pandas or pyarrow is not installed."""
    require("pyarrow", "table")
    file = io.BytesIO()
    frame_of(runs).to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


def csv_of(runs: Sequence[Run]) -> str:
    """The same table as CSV, with a heading; missing values are empty. Needs no package."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(runs))
    return text.getvalue()


def _rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [_row(run, record) for run in runs for record in sorted(run.records, key=lambda record: record.index)]


def _row(run: Run, record: Record) -> dict[str, Any]:
    question = record.question
    return {
        "run": run.folder.resolve().name,
        "index": record.index,
        "name": record.name,
        "label": record.label,
        "label_name": None if record.label is None else run.label_name(record.label),
        "answer": record.answer,
        "answer_name": None if record.answer is None else run.label_name(record.answer),
        "right": None if record.label is None else record.answer == record.label,
        "radius": _not_above(record.radius),
        "norm": question.norm,
        "noise": str(question.law),
        "bound": question.rule,
        "against": None if question.mode.against is None else question.mode.against.words,
        "alpha": question.alpha,
        "chosen_afterwards": record.chosen_afterwards,
        "votes": json.dumps(record.estimation["counts"], ensure_ascii=False),
        "missing": record.estimation["missing"],
        "trials": record.estimation["trials"],
        "drawn": record.drawn,
        "seconds": record.seconds,
        "image": record.image,
    }


def _not_above(radius: str) -> float:
    """The decimal as a float64, never above it: the nearest one can be."""
    value = float(radius)
    return value if Fraction(value) <= Fraction(radius) else math.nextafter(value, 0.0)


def _as(kind: str, value: Any) -> Any:
    return str(value) if kind == _TEXT and value is not None else value
