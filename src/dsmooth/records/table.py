"""The records of runs as a table for other programs: a row for each image."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from dsmooth.errors import require
from dsmooth.records.record_file import in_order
from dsmooth.records.schema import Record

if TYPE_CHECKING:
    from dsmooth.records.store import Run

__all__ = ["COLUMNS", "csv_of", "frame_of", "parquet_of"]

_AT_ONCE: Final = 10_000  # rows
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
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

    answer: missing where the smoothed classifier abstains; text, where labels are. right: missing where the label is
    unknown; an
abstention is not right. against: the family of transformations that the answer holds for, too; missing where there is none.
radius: rounded down, 0 for an abstention. votes: [[label, count], ...] of the estimation, as JSON. image: its digest.
"""


def frame_of(runs: Sequence[Run]) -> Any:
    """A pandas.DataFrame with the columns of COLUMNS; raises MissingPackage where pandas is not installed."""
    return _frame(list(_rows(runs)), _kinds(runs))


def parquet_of(runs: Sequence[Run]) -> Iterator[bytes]:
    """The same table as a Parquet file, piece by piece; raises MissingPackage where pandas or pyarrow is not installed."""
    require("pandas", "table")
    return _parquet(runs, require("pyarrow", "table"), require("pyarrow.parquet", "table"))


def _parquet(runs: Sequence[Run], arrow: Any, parquet: Any) -> Iterator[bytes]:
    kinds, rows, file, writer = _kinds(runs), _rows(runs), _Pieces(), None
    while (batch := list(islice(rows, _AT_ONCE))) or writer is None:
        table = arrow.Table.from_pandas(_frame(batch, kinds), preserve_index=False)
        writer = writer or parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
        yield from file.taken()
    writer.close()
    yield from file.taken()


def csv_of(runs: Sequence[Run]) -> Iterator[str]:
    """The same table as CSV, with a heading, line by line; missing values are empty. Needs no package.

    Text that a spreadsheet would run as a formula begins with an apostrophe: names come from files and services.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\r\n")  # with "\n" it would not quote "\r"
    for row in chain([{name: name for name in COLUMNS}], _rows(runs)):
        text.seek(0)
        text.truncate()
        writer.writerow({name: _inert(value) for name, value in row.items()})
        yield text.getvalue().removesuffix("\r\n") + "\n"


class _Pieces(io.RawIOBase):
    """A file whose content is taken away while it is written."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, content: Any) -> int:
        self._held.append(bytes(content))
        self._written += len(self._held[-1])
        return len(self._held[-1])

    def taken(self) -> list[bytes]:
        held, self._held = self._held, []
        return held


def _frame(rows: Sequence[dict[str, Any]], kinds: Mapping[str, str]) -> Any:
    pandas = require("pandas", "table")
    return pandas.DataFrame(
        {name: pandas.array([_as(kind, row[name]) for row in rows], dtype=kind) for name, kind in kinds.items()}
    )


def _kinds(runs: Sequence[Run]) -> Mapping[str, str]:
    """The types of the columns: answers are text where one of them is."""
    texts = any(isinstance(record.answer, str) for run in runs for record in run.records)
    return {**COLUMNS, "answer": _TEXT} if texts else COLUMNS


def _rows(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    return (_row(run, record) for run in runs for record in in_order(run.records))


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


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _as(kind: str, value: Any) -> Any:
    return str(value) if kind == _TEXT and value is not None else value
