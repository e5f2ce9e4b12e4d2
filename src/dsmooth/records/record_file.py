"""The records of a run, one after another from its file: each is checked against the one before it and the header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.files import bounded_lines, open_to_read
from dsmooth.records.question import Question
from dsmooth.records.repeats import Repeats, mark
from dsmooth.records.schema import SCHEMA, Record

__all__ = ["RECORDS", "End", "RecordFile"]

RECORDS: Final = "records.jsonl"


class End(NamedTuple):
    """Where the whole records of a file end."""

    records: int
    last: str
    """Digest of the last record; of run.json where there is none."""
    size: int
    """Bytes of all whole records."""
    torn: int
    """Bytes behind them: an unfinished line, which a crash left behind."""


@dataclass
class RecordFile:
    """The records of a run, read and checked anew each time they are gone through; one at a time is in memory.

    Those of the first time are all there are: what is appended later is left out. Raises BadRun, with file and byte, where
    there is damage, or where other records stand there than the first time; Disproved where one contradicts itself, the
    one before it or the header.
    """

    folder: Path
    header: Mapping[str, Any]
    questions: tuple[Question, Question | None]
    """What was asked, and what was asked of the votes afterwards."""
    start: str
    """Digest of run.json, which the first record names."""
    _end: End | None = field(default=None, init=False)

    @property
    def end(self) -> End:
        """Where they end; reads all of them where that is not known yet."""
        if self._end is None:
            for _ in self:
                pass
        return self._end or End(0, self.start, 0, 0)

    def __len__(self) -> int:
        return self.end.records

    def __iter__(self) -> Iterator[Record]:
        known = self._end
        end = End(0, self.start, 0, 0)
        names, places = Repeats(), Repeats()
        for offset, line in self._lines():
            if known is not None and offset >= known.size:
                break
            if not line.endswith(b"\n"):
                end = end._replace(torn=len(line))
                break
            record = self._record(line[:-1], offset, end.last)
            if not 0 <= record.index < self.header["images"]:
                raise BadRun(f"{self._at(offset)}: {record.name!r} is no image of this run; nothing was changed")
            if known is None:  # later the chain shows that they are the same
                names.add(record.name)
                places.add(str(record.index))
            end = End(end.records + 1, record.digest, offset + len(line), 0)
            yield record
        if known is None:
            self._check_once(names.found(), places.found(), end.size)
            self._end = end
        elif known[:3] != end[:3]:
            raise BadRun(f"{self.folder / RECORDS}: expected the records that stood there before, found others")

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
            raise BadRun(
                f"{self.folder / RECORDS}: expected a file of records, cannot read it ({error.strerror})"
            ) from error
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
