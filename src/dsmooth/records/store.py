"""A run folder: append-only, crash-safe, one writer at a time.

run.json        the parameters, fixed before the first image, and the key of the noise
records.jsonl   one line an image; each holds the SHA-256 of the line before (the first: of run.json)
votes/          one packed file an image, named by its record
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from dsmooth.errors import BadRun
from dsmooth.records.schema import SCHEMA, Record
from dsmooth.records.sidecar import SidecarWriter

__all__ = ["Run", "RunWriter", "read_run"]

_HEADER, _RECORDS, _VOTES, _LOCK = "run.json", "records.jsonl", "votes", "lock"


@dataclass(frozen=True)
class Run:
    """A run as it stands on disk."""

    folder: Path
    header: Mapping[str, Any]
    records: list[Record]
    torn: int
    """Bytes of an unfinished last line, which a crash left behind; no part of any record."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        parameters: Mapping[str, Any] = self.header["parameters"]
        return parameters

    @property
    def images(self) -> int:
        """How many images the finished run has."""
        return int(self.header["images"])


def read_run(folder: Path | str) -> Run:
    """The run in `folder`; raises BadRun, naming file and offset, where it is damaged or no run at all."""
    folder = Path(folder)
    if not (folder / _HEADER).is_file():
        raise BadRun(f"{folder}: expected a run folder with {_HEADER}, found none")
    header_bytes = (folder / _HEADER).read_bytes()
    try:
        header = json.loads(header_bytes)
        known = header["schema"] == SCHEMA and isinstance(header["parameters"], dict) and header["images"] >= 0
    except (ValueError, KeyError, TypeError) as error:
        raise BadRun(f"{folder / _HEADER}: expected the parameters of a run, cannot read them ({error})") from error
    if not known:
        raise BadRun(f"{folder / _HEADER}: expected schema {SCHEMA}, got {header['schema']!r}")
    records, torn = _read_records(folder / _RECORDS, _sha256(header_bytes))
    return Run(folder, header, records, torn)


def _read_records(path: Path, previous: str) -> tuple[list[Record], int]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    records: list[Record] = []
    names: set[str] = set()
    offset = 0
    *lines, torn = data.split(b"\n")
    for line in lines:
        try:
            record = Record.parse(line.decode())
        except (ValueError, TypeError) as error:
            raise BadRun(
                f"{path}, byte {offset}: expected a record, found damage ({error}); nothing was changed"
            ) from error
        if record.previous != previous:
            raise BadRun(f"{path}, byte {offset}: this record does not follow the one before it; nothing was changed")
        if record.name in names:
            raise BadRun(f"{path}, byte {offset}: {record.name!r} is recorded twice; nothing was changed")
        names.add(record.name)
        records.append(record)
        previous = _sha256(line)
        offset += len(line) + 1
    return records, len(torn)


class RunWriter:
    """The one writer of a run folder, while it is open.

    A new folder gets `header` (parameters, number of images, key); an existing one must have been made with the same
    parameters and needs `resume`. Raises BadRun, with nothing changed, otherwise and where another writer is at work.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        exists = (folder / _HEADER).exists()
        if exists and not resume:
            raise BadRun(f"{folder} already holds a run: pass --resume to go on with it, or choose another --out")
        if not exists and folder.exists() and any(entry.name != _LOCK for entry in folder.iterdir()):
            raise BadRun(f"{folder} holds other files: choose a new or empty folder for --out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / _LOCK)
        except OSError as error:
            raise BadRun(f"{folder}: cannot be written ({error.strerror})") from error
        try:
            if exists:
                _check_same(folder, read_run(folder).parameters, header["parameters"])
            else:
                _write_whole(folder / _HEADER, json.dumps({"schema": SCHEMA, **header}, indent=2).encode() + b"\n")
            run = read_run(folder)
            self.header, self.records, self.torn = run.header, run.records, run.torn
            self._previous = _sha256((folder / _HEADER).read_bytes())
            if self.records:
                self._previous = _sha256(self.records[-1].line().encode())
            self._file = (folder / _RECORDS).open("ab")
            if self.torn:
                self._file.truncate((folder / _RECORDS).stat().st_size - self.torn)
        except BaseException:
            self._lock.close()
            raise

    def sidecar(self, index: int) -> SidecarWriter:
        """Where the votes of the image at this position go."""
        return SidecarWriter(self.folder / _VOTES / f"{index:06d}.{_VOTES}")

    def append(self, record: Record) -> Record:
        """The record, chained to the one before, is on disk when this returns."""
        record = replace(record, previous=self._previous)
        line = record.line().encode()
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._previous = _sha256(line)
        self.records.append(record)
        return record

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.close()


def _check_same(folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in [*wanted, *(held.keys() - wanted.keys())]:
        if held.get(name) != wanted.get(name):
            raise BadRun(
                f"{folder} was made with {name} {held.get(name)}, not {wanted.get(name)}: "
                "resume with the same parameters, or choose another --out"
            )


def _locked(path: Path) -> Any:
    import fcntl  # POSIX only; imported here so that reading runs works everywhere

    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise BadRun(f"{path.parent}: another process is writing this run; wait for it, or end it") from error
    return file


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
