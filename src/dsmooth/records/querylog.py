"""The query log of a run: every raw answer of a service with the address of its noise, append-only, crash-safe.

queries.jsonl: one object a line, its `seal` a hash over the seal of the line before and its own content.

header   what was asked (provider, preparation, voting rule) and the commitment to the key of the noise
try      written before a query is sent, so that what was spent is known after any crash
answer   the raw answer to the sample at an address; from then on nobody asks for that sample again
missing  why there is no answer, and never will be
canary   the answer to a fixed image; drift: what it, or the model's version, changed to

A line is handed to the operating system before its vote is counted: it survives the end of the program at any moment. The
disk is waited for once a second, and before a record that rests on the answers is written: that survives a power cut.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from dsmooth.errors import BadRun
from dsmooth.records.digests import canonical_json
from dsmooth.records.files import bounded_lines, open_to_append, open_to_read
from dsmooth.records.reading import strict_json

__all__ = ["LOG", "Address", "Entry", "QueryLog", "QueryLogWriter", "read_query_log"]

LOG: Final = "queries.jsonl"
_SCHEMA: Final = 1
_SEAL = 32
_SYNC_EVERY = 1.0


class Address(NamedTuple):
    """One noisy image: sample number `sample` of the stream of an image (its digest) and a phase."""

    image: str
    phase: str
    sample: int


@dataclass(frozen=True, slots=True)
class Entry:
    """The outcome of one sample."""

    raw: str | None
    """The raw answer as canonical JSON; None where none came."""
    picture: str | None
    """SHA-256 of the PNG that was sent."""
    why: str = ""
    """Why no answer came."""


@dataclass
class QueryLog:
    """A log as stored on disk."""

    path: Path
    header: Mapping[str, Any]
    entries: dict[Address, Entry] = field(default_factory=dict)
    canaries: dict[int, str] = field(default_factory=dict)
    """Number of the canary -> its first raw answer."""
    version: str | None = None
    answered: int = 0
    tries: int = 0
    drifted: bool = False
    seal: str = ""
    torn: int = 0
    """Bytes of an unfinished last line."""


def read_query_log(path: Path | str) -> QueryLog:
    """The log; raises BadRun, with file and byte, for damage, an address answered twice, or answers of several versions.

    An unfinished last line, which a crash leaves behind, is left out.
    """
    path = Path(path)
    log = QueryLog(path, {})
    offset = 0
    try:
        with open_to_read(path, inside=path.parent) as file:
            for line in bounded_lines(file):
                if not line.endswith(b"\n"):
                    log.torn = len(line)
                    break
                _take(log, line.decode(), first=offset == 0)
                offset += len(line)
    except OSError as error:
        raise BadRun(f"{path}: expected a query log, cannot read it ({error.strerror})") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRun(f"{path}, byte {offset}: {error or 'damaged'}; this log cannot be trusted") from error
    if not log.header:
        raise BadRun(f"{path}: expected a query log with a header, found none")
    return log


def _take(log: QueryLog, line: str, *, first: bool) -> None:
    value = strict_json(line)
    seal = value.pop("seal")
    if seal != _sealed(log.seal, canonical_json(value)):
        raise ValueError("expected a line that follows the one before it, found damage")
    log.seal = seal
    kind = value["kind"]
    if first != (kind == "header"):
        raise ValueError("expected one header, in the first line")
    if kind == "header":
        if value["schema"] != _SCHEMA:
            raise ValueError(f"expected schema {_SCHEMA}, got {value['schema']!r}")
        log.header = value
    elif kind == "try":
        log.tries += 1
    elif kind in ("answer", "canary"):
        if log.answered and value["version"] != log.version:
            raise ValueError(f"expected answers of one model version, got {log.version} and {value['version']}")
        log.version = value["version"]
        log.answered += 1
        raw = canonical_json(value["raw"])
        if kind == "canary":
            log.canaries.setdefault(value["canary"], raw)
        else:
            _enter(log, value["at"], Entry(raw, value["picture"]))
    elif kind == "missing":
        _enter(log, value["at"], Entry(None, value["picture"], value["why"]))
    elif kind == "drift":
        log.drifted = True
    else:
        raise ValueError(f"expected a line of a known kind, got {kind!r}")


def _enter(log: QueryLog, at: list[Any], entry: Entry) -> None:
    address = Address(*at)
    if address in log.entries:
        raise ValueError(f"expected each sample once, got {address} twice")
    log.entries[address] = entry


def _begun(path: Path) -> bool:
    """Whether the log has a whole line: its header."""
    try:
        with open_to_read(path, inside=path.parent) as file:
            return next(bounded_lines(file), b"").endswith(b"\n")
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise BadRun(f"{path}: expected a query log, cannot read it ({error}); nothing was sent") from error


def _sealed(previous: str, content: str) -> str:
    return hashlib.sha256(f"{previous}\n{content}".encode()).hexdigest()[:_SEAL]


class QueryLogWriter:
    """The log of a run that is going on; threads share it, and `held.entries` follows.

    The folder's own lock keeps other writers away. A new log gets `header`; an old one must have the same, and an unfinished
    last line of it is cut off (`held.torn`).
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        header = {"kind": "header", "schema": _SCHEMA, **header}
        new = not _begun(path)
        self.held = QueryLog(path, header) if new else read_query_log(path)
        if canonical_json(self.held.header) != canonical_json(header):
            raise BadRun(f"{path}: made with another service, preparation, voting rule or key; nothing was sent")
        self._lock = threading.Lock()
        self._file = open_to_append(path, inside=path.parent, buffering=0)
        self._size = 0 if new else os.fstat(self._file.fileno()).st_size - self.held.torn
        self._file.truncate(self._size)
        self._seal, self._synced = self.held.seal, time.monotonic()
        if new:
            self._write(header)
            self.sync()

    def sent(self, at: Address | None) -> None:
        """Records that a query is about to be sent."""
        self._write({"kind": "try", "at": at})

    def answer(self, at: Address, picture: str, version: str | None, raw: Any) -> None:
        """Records an answer, new or already known for this picture."""
        self._write({"kind": "answer", "at": at, "picture": picture, "version": version, "raw": raw})
        self.held.entries[at] = Entry(canonical_json(raw), picture)

    def missing(self, at: Address, picture: str | None, why: str) -> None:
        """Records that no answer came, finally."""
        self._write({"kind": "missing", "at": at, "picture": picture, "why": why})
        self.held.entries[at] = Entry(None, picture, why)

    def canary(self, number: int, version: str | None, raw: Any) -> None:
        """Records that a canary was answered as before."""
        self._write({"kind": "canary", "canary": number, "version": version, "raw": raw})

    def drift(self, why: str, raw: Any) -> None:
        """Records that the model changed."""
        self._write({"kind": "drift", "why": why, "raw": raw})
        self.sync()

    def sync(self) -> None:
        """Everything up to here is on disk."""
        with self._lock:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Everything is on disk, and nothing can be written any more."""
        self.sync()
        self._file.close()

    def _write(self, value: dict[str, Any]) -> None:
        content = canonical_json(value)
        with self._lock:
            seal = _sealed(self._seal, content)
            line = f"{canonical_json({**value, 'seal': seal})}\n".encode()
            try:
                if self._file.write(line) != len(line):
                    raise OSError("the disk is full")
            except OSError as error:
                self._file.truncate(self._size)  # half a line must not stand before the next one
                raise OSError(error.errno, error.strerror or str(error), str(self.path)) from error
            self._seal, self._size = seal, self._size + len(line)
            due = time.monotonic() - self._synced > _SYNC_EVERY
        if due:
            self.sync()
