"""The records of a run, one after another from its file: each is checked against the one before it and the header."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.files import TEXT, bounded_lines, open_to_read
from dsmooth.records.question import Question
from dsmooth.records.repeats import Repeats, mark
from dsmooth.records.schema import SCHEMA, Record

__all__ = ["RECORDS", "End", "RecordFile", "in_order"]

RECORDS: Final = "records.jsonl"

_MARK: Final = 16
"""Bytes by which a line is known again."""


class End(NamedTuple):
    """Where the whole records of a file end."""

    records: int
    last: str
    """Digest of the last record; of run.json where there is none."""
    size: int
    """Bytes of all whole records."""
    torn: int
    """Bytes behind them: an unfinished line, which a crash left behind."""


@dataclass(eq=False)
class RecordFile(Sequence[Record]):
    """The records of a run, in the order in which they stand in its file; one at a time is in memory.

    All are checked in the first pass; later passes recognise them by the digests of their lines, and ignore records that
    others appended since (the writer's own are `added`). Raises BadRun, with file and byte, for damage, or where records
    have changed since the first pass; Disproved where a record contradicts itself, the one before it or the header.
    """

    folder: Path
    header: Mapping[str, Any]
    questions: tuple[Question, Question | None]
    """The settings of the votes, and those under which they were evaluated afterwards."""
    start: str
    """Digest of run.json, which the first record names."""
    _end: End | None = field(default=None, init=False)
    _offsets: array[int] = field(default_factory=lambda: array("Q"), init=False)
    _places: array[int] = field(default_factory=lambda: array("q"), init=False)
    """Which image each record is about."""
    _marks: bytearray = field(default_factory=bytearray, init=False)

    @property
    def end(self) -> End:
        """Where they end; reads all of them where that is not known yet."""
        if self._end is None:
            for _ in self:
                pass
        return self._end or End(0, self.start, 0, 0)

    def __len__(self) -> int:
        return self.end.records

    def __getitem__(self, index: Any) -> Any:
        chosen = range(len(self))[index]
        if isinstance(chosen, int):
            return next(self._at_places([chosen]))
        return list(self._at_places(chosen))

    def __iter__(self) -> Iterator[Record]:
        return self._first() if self._end is None else self._again(self._end)

    def in_order(self) -> Iterator[Record]:
        """The records in the order of their images, which is seldom another one than that of the file."""
        count = len(self)
        places = np.frombuffer(self._places, np.int64, count)
        if count < 2 or bool((places[1:] > places[:-1]).all()):
            return iter(self)
        return self._at_places(np.argsort(places, kind="stable").tolist())

    def added(self, record: Record, line: bytes) -> None:
        """The writer of the run has put this line of this record behind those that are there, in place of a torn one."""
        end = self.end
        self._places.append(record.index)
        self._offsets.append(end.size)
        self._marks += _mark(line)
        self._end = End(end.records + 1, record.digest, end.size + len(line), 0)

    def _first(self) -> Iterator[Record]:
        end = End(0, self.start, 0, 0)
        names, places = Repeats(), Repeats()
        found, offsets, marks = array("q"), array("Q"), bytearray()
        for offset, line in self._lines():
            if not line.endswith(b"\n"):
                end = end._replace(torn=len(line))
                break
            record = self._record(line[:-1], offset, end.last)
            if not 0 <= record.index < self.header["images"]:
                raise BadRun(f"{self._at(offset)}: {record.name!r} is no image of this run; nothing was changed")
            names.add(record.name)
            places.add(str(record.index))
            found.append(record.index)
            offsets.append(offset)
            marks += _mark(line)
            end = End(end.records + 1, record.digest, offset + len(line), 0)
            yield record
        self._check_once(names.found(), places.found(), end.size)
        self._places, self._offsets, self._marks, self._end = found, offsets, marks, end

    def _again(self, end: End) -> Iterator[Record]:
        number = 0
        for _, line in self._lines():
            if number == end.records:
                return
            yield self._known(number, line)
            number += 1
        if number != end.records:
            raise self._others()

    def _at_places(self, numbers: Sequence[int]) -> Iterator[Record]:
        """The records of these numbers in the file."""
        try:
            with open_to_read(self.folder / RECORDS, inside=self.folder) as file:
                for number in numbers:
                    yield self._known(number, _line_at(file, self._offsets[number]))
        except OSError as error:
            raise self._unreadable(error) from error

    def _known(self, number: int, line: bytes) -> Record:
        if self._marks[_MARK * number : _MARK * (number + 1)] != _mark(line):
            raise self._others()
        return Record.parse_again(line[:-1], *self.questions)

    def _others(self) -> BadRun:
        return BadRun(f"{self.folder / RECORDS}: expected the records that were there before, found others")

    def _unreadable(self, error: OSError) -> BadRun:
        return BadRun(f"{self.folder / RECORDS}: expected a file of records, cannot read it ({error.strerror})")

    def _check_once(self, names: frozenset[int], places: frozenset[int], size: int) -> None:
        """Raises BadRun where an image is recorded twice; looks only at those whose marks came twice."""
        if not names and not places:
            return
        seen: set[str | int] = set()
        for offset, line in self._lines():
            if offset >= size:
                break
            record = Record.parse(line[:-1].decode())
            told: set[str | int] = {record.name} if mark(record.name) in names else set()
            told |= {record.index} if mark(str(record.index)) in places else set()
            if told & seen:
                raise BadRun(f"{self._at(offset)}: {record.name!r} is recorded twice; nothing was changed")
            seen |= told

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        offset = 0
        try:
            with open_to_read(self.folder / RECORDS, inside=self.folder) as file:
                for line in bounded_lines(file):
                    yield offset, line
                    offset += len(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unreadable(error) from error
        except ValueError as error:
            raise BadRun(f"{self._at(offset)}: {error}; nothing was changed") from error

    def _record(self, line: bytes, offset: int, previous: str) -> Record:
        try:
            record = Record.parse(line.decode())
        except ValueError as error:
            kind = Disproved if isinstance(error, Disproved) else BadRun
            raise kind(f"{self._at(offset)}: expected a record, found damage ({error}); nothing was changed") from error
        if record.previous != previous:
            raise Disproved(f"{self._at(offset)}: this record does not follow the one before it; nothing was changed")
        if other := self._differing(record):
            raise Disproved(f"{self._at(offset)}: this record has another {other} than run.json; nothing was changed")
        return record

    def _differing(self, record: Record) -> str | None:
        """The first field in which a record was asked something else than its run; None where there is none."""
        for mine, runs in zip((record.asked, record.evaluated), self.questions, strict=True):
            if (mine is None) != (runs is None):
                return "question"
            if mine is not None and runs is not None and mine != runs:
                told, expected = mine.to_json(), runs.to_json()
                # old records say the rows of their own batches in place of the run's
                loose = () if record.schema == SCHEMA else ("batch_size", "batch_area")
                for name, value in expected.items():
                    if told[name] != value and name not in loose:
                        return name
        return "schema" if record.schema != self.header["schema"] else None

    def _at(self, offset: int) -> str:
        return f"{self.folder / RECORDS}, byte {offset}"


def in_order(records: Sequence[Record]) -> Iterator[Record]:
    """The records in the order of their images."""
    if isinstance(records, RecordFile):
        return records.in_order()
    return iter(sorted(records, key=lambda record: record.index))


def _mark(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=_MARK).digest()


def _line_at(file: IO[bytes], offset: int) -> bytes:
    file.seek(offset)
    return file.readline(TEXT + 1)
