"""A run folder: append-only, crash-safe, one writer at a time.

run.json        the settings, fixed before the first image, and the commitment to the noise key
key.secret      the key, while the run is unfinished
records.jsonl   one line per image; each holds its own digest and that of the one before (the first: of run.json)
votes/          one packed file per image, named by its record
thumbnails/     thumbnails, and looks/, pictures of noisy and denoised copies; only for reports
clean.jsonl     the classifier's own answers, without smoothing; only for reports
end.json        the key, revealed when every image has its record

A run of very many images (runs/certify.py) fixes their listing in run.json, and the digest of their pixels in end.json.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.digests import digest_json, digest_list
from dsmooth.records.files import TEXT, open_to_append, read_bounded, write_whole
from dsmooth.records.keys import SECRET, SOURCES, is_late, keep_secret, read_end, read_secret, reveal
from dsmooth.records.legacy import NOT_RECORDED, upgraded_header
from dsmooth.records.querylog import LOG
from dsmooth.records.question import Question
from dsmooth.records.reading import strict_json
from dsmooth.records.record_file import RECORDS, RecordFile, in_order
from dsmooth.records.schema import SCHEMA, Record
from dsmooth.records.sidecar import SidecarWriter
from dsmooth.records.table import frame_of
from dsmooth.records.thumbnails import LOOKS, THUMBNAILS
from dsmooth.records.typed import check_values

__all__ = [
    "Run",
    "RunHead",
    "RunWriter",
    "asked_digest",
    "check_free",
    "check_same",
    "holds_run",
    "images_of",
    "open_run",
    "read_run",
]

_HEADER, _VOTES, _LOCK = "run.json", "votes", "lock"
_OURS = (_LOCK, SECRET)  # these, and unfinished ones: what a crash can leave of a run that had not begun
_FIELDS: Final = {
    "images": int, "key_commitment": str, "key_source": str, "attempt": int, "class_names": list[str] | None,
    "classifier_name": str | None, "denoiser_name": str | None,
}  # fmt: skip
"""Types of what is read of run.json beside questions and data."""
_ABSENT: Final = {"key_source": "", "attempt": 1, "class_names": None, "classifier_name": None, "denoiser_name": None}
"""Of runs of version 0.1.0, which do not say all of it."""
_ADDED: Final = {"denoiser_name", "skipped", "listing"}
"""A run that was begun before these were recorded, or without anything to record, goes on without them."""
_UNFINISHED = (f".{_HEADER}", f".{SECRET}")


@dataclass(frozen=True)
class RunHead:
    """A run as stored on disk, without its records."""

    folder: Path
    header: Mapping[str, Any]
    torn: int
    """Bytes of an unfinished last line left by a crash; not part of any record."""
    key: bytes | None
    """The noise key; None while the run is unfinished and the key is secret."""

    question: Question
    """The settings that its certificates are for."""
    data: str | None
    """Digest of the names, labels and pixels of all images; None while a late run is unfinished."""

    @property
    def schema(self) -> int:
        """The version of its format; below 3 it can only be reported and recertified."""
        return int(self.header["schema"])

    @property
    def chosen_afterwards(self) -> bool:
        """Whether a setting that affects the claims was chosen after the votes were known."""
        return self.header.get("evaluated") is not None

    @property
    def late(self) -> bool:
        """Whether only the listing of its images was fixed when it began, and their pixels at its end."""
        return is_late(self.header)

    @property
    def listing(self) -> str | None:
        """Digest of names, labels and sizes of its images, of a late run; of others where it was recorded."""
        told = self.header.get("listing")
        return told if isinstance(told, str) else None

    @property
    def addressed(self) -> bool:
        """Whether the noise depends on all settings: false for runs of schemas 1 and 2, recertified or not."""
        return self.schema == SCHEMA and self.question.preparation != NOT_RECORDED

    @property
    def asked(self) -> str:
        """Digest of the settings and the images, which the log of a service's answers holds."""
        if self.schema < SCHEMA:
            return digest_json(self.header["parameters"])
        return asked_digest(self.header)

    @property
    def images(self) -> int:
        """How many images the finished run has."""
        return int(self.header["images"])

    def label_name(self, label: int | str) -> str:
        """The name of the label's class, with its number where classes share a name; the label itself if it has no name."""
        names = self.header.get("class_names") or []
        if not isinstance(label, int) or not 0 <= label < len(names):
            return str(label)
        name = str(names[label])
        return f"{name} ({label})" if name in self._shared_names else name

    @cached_property
    def _shared_names(self) -> frozenset[str]:
        """What several classes are called: counted once, because a stranger's run may have millions of them."""
        counted = Counter(self.header.get("class_names") or [])
        return frozenset(name for name, count in counted.items() if count > 1)


@dataclass(frozen=True)
class Run(RunHead):
    """A run as stored on disk, with its records: all in memory (read_run), or read from disk on demand."""

    records: Sequence[Record]

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with a row for each image, its columns as in `dsmooth.records.table.COLUMNS`.

        Raises MissingPackage where pandas is not installed.
        """
        return frame_of([self])


def holds_run(folder: Path) -> bool:
    """Whether this folder holds a run, finished or not."""
    return (folder / _HEADER).is_file()


def read_run(folder: Path | str) -> Run:
    """The run in `folder`; raises BadRun, naming file and offset, if it is damaged or not a run."""
    file, data = _opened(Path(folder))
    records = list(file)
    return Run(**vars(_head(file, data)), records=records)


def open_run(folder: Path | str) -> Run:
    """The run in `folder`, checked like read_run, for any number of records: they are read from disk on demand."""
    file, data = _opened(Path(folder))
    return Run(**vars(_head(file, data)), records=file)


def images_of(records: Sequence[Record], names: Collection[str] | None = None) -> list[tuple[str, str, int | None]]:
    """Name, pixels and label of the images in their order; where `names` are given, of these."""
    chosen = None if names is None else frozenset(names)
    return [
        (record.name, record.image, record.label)
        for record in in_order(records)
        if chosen is None or record.name in chosen
    ]


def _read_header(folder: Path) -> bytes:
    try:
        return read_bounded(folder / _HEADER, TEXT, inside=folder)
    except (FileNotFoundError, NotADirectoryError):
        raise BadRun(f"{folder}: expected a run folder with {_HEADER}, found none") from None
    except OSError as error:
        raise BadRun(
            f"{folder / _HEADER}: expected the question of a run, cannot read it ({error.strerror})"
        ) from error


def _opened(folder: Path) -> tuple[RecordFile, str | None]:
    """The records, not read yet, and the digest of the images, where it was fixed first."""
    header_bytes = _read_header(folder)
    try:
        header = strict_json(header_bytes)
        known = type(header["schema"]) is int and header["schema"] in (1, 2, SCHEMA) and header["images"] >= 0
        check_values({**_ABSENT, **header}, _FIELDS if known else {})
        terms = (upgraded_header(header) if header["schema"] < SCHEMA else header) if known else {}
        asked = Question.from_json(terms["question"]) if known else None
        evaluated = None if terms.get("evaluated") is None else Question.from_json(terms["evaluated"])
        check_values({"listing": None, **terms}, {"data": str | None, "listing": str | None} if known else {})
        if known and terms["data"] is None and (terms.get("listing") is None or "witness" in terms):
            raise BadRun("names neither its images nor their listing, or a witness of images that it does not name")
        if asked is not None and evaluated is not None:
            asked.check_evaluated(evaluated)
        if (source := header.get("key_source", "os")) not in SOURCES:
            raise BadRun(f"expected a key from {' or '.join(SOURCES)}, got {source!r:.100}")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadRun(f"{folder / _HEADER}: expected the question of a run, cannot read it ({error})") from error
    if asked is None:
        raise BadRun(f"{folder / _HEADER}: expected schema {SCHEMA} or below, got {repr(header['schema'])[:80]}")
    return RecordFile(folder, header, (asked, evaluated), _sha256(header_bytes)), terms["data"]


def _head(file: RecordFile, data: str | None) -> RunHead:
    end, (asked, evaluated) = file.end, file.questions
    last = end.last if end.records else ""
    late = is_late(file.header)
    revealed = read_end(file.folder, file.header.get("key_commitment"), end.records, last, late=late)
    if revealed is not None and end.records != file.header["images"]:
        raise Disproved(f"{file.folder}: the run ended with {end.records} records of {file.header['images']} images")
    key, sealed = (None, None) if revealed is None else revealed
    return RunHead(file.folder, file.header, end.torn, key, evaluated or asked, sealed if late else data)


class RunWriter:
    """The only writer of a run folder, while it is open.

    A new folder gets `header` (settings, digest and number of images, commitment) and keeps `key` secret; an existing
    one must have been made with the same settings and images, needs `resume`, and has its own key. Otherwise, and where
    another writer is active or anything in the folder is a symbolic link, raises BadRun with nothing changed.
    `records` are those so far, each read from disk on demand.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], key: bytes, *, resume: bool) -> None:
        self.folder = folder
        check_free(folder, resume)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _check_no_links(folder)
            self._lock = _locked(folder / _LOCK)
        except OSError as error:
            raise BadRun(f"{folder}: cannot be written ({error.strerror})") from error
        try:
            check_free(folder, resume)  # again: another writer may have come and gone before the lock was ours
            exists = (folder / _HEADER).exists()
            if not exists:
                keep_secret(folder, key)
                told = json.dumps({"schema": SCHEMA, **header}, indent=2)
                write_whole(folder / _HEADER, f"{told}\n", inside=folder)
            self.records, self._data = _opened(folder)
            run = self.run()
            if lacking := header.keys() - run.header.keys() - _ADDED:
                raise BadRun(f"{folder / _HEADER}: expected the fields of a run, lacks {', '.join(sorted(lacking))}")
            if exists:
                check_same(folder, run, header)
            self.new, self.finished = not exists, run.key is not None
            self.header, self.torn = run.header, run.torn
            self.key = run.key or read_secret(folder, str(run.header.get("key_commitment")))
            try:
                self._file = open_to_append(folder / RECORDS, inside=folder)
            except OSError as error:
                raise BadRun(f"{folder / RECORDS}: cannot be written ({error.strerror})") from error
            if self.torn:
                self._file.truncate(os.fstat(self._file.fileno()).st_size - self.torn)
        except BaseException:
            self._lock.close()
            raise

    def sidecar(self, index: int) -> SidecarWriter:
        """The writer for the votes of the image at this position."""
        return SidecarWriter(self.folder / _VOTES / f"{index:06d}.{_VOTES}")

    def append(self, record: Record) -> Record:
        """The record, chained to the one before, is on disk when this returns."""
        record = record.sealed(self.records.end.last)
        line = record.line().encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.records.added(record, line)
        return record

    def run(self) -> Run:
        """The run as it stands on disk now."""
        return Run(**vars(_head(self.records, self._data)), records=self.records)

    def finish(self) -> None:
        """The key is revealed, and late images named; raises BadRun unless every image has its record."""
        if len(self.records) != self.header["images"]:
            raise BadRun(f"{self.folder}: expected {self.header['images']} records at the end, got {len(self.records)}")
        data = None
        if is_late(self.header):
            ordered = self.records.in_order()
            data = digest_list([record.name, record.label, record.image] for record in ordered)
        reveal(self.folder, self.key, len(self.records), self.records.end.last, data)

    def retract(self) -> None:
        """Removes a new run that was refused before it had a vote; leaves any other alone."""
        if self.new and not self.records:
            with contextlib.suppress(OSError):  # the lock goes last: until then nobody else begins here
                (self.folder / _VOTES).rmdir()
            for name in (LOG, RECORDS, SECRET, _HEADER, _LOCK):
                (self.folder / name).unlink(missing_ok=True)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        finally:
            self._lock.close()


def check_free(folder: Path, resume: bool) -> None:
    """Raises BadRun where a run cannot be written or resumed in `folder`; touches nothing."""
    try:
        held = (folder / _HEADER).exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise BadRun(f"{folder}: cannot be written ({error.strerror})") from error
    if held:
        if not resume:
            raise BadRun(f"{folder} already holds a run: pass --resume to continue it, or choose another --out")
    elif folder.is_dir():
        if any(entry.name not in _OURS and not entry.name.startswith(_UNFINISHED) for entry in folder.iterdir()):
            raise BadRun(f"{folder} holds other files: choose a new or empty folder for --out")
    elif folder.exists():
        raise BadRun(f"{folder} is a file: choose a folder for --out")


def asked_digest(header: Mapping[str, Any]) -> str:
    """Digest of the settings of a run and of its images."""
    listing = {"listing": header["listing"]} if header["data"] is None else {}
    return digest_json({"question": header["question"], "data": header["data"], **listing})


def check_same(folder: Path, run: Run, header: Mapping[str, Any]) -> None:
    """Raises BadRun unless the run in this folder has the settings and images of this header."""
    if run.schema != SCHEMA:
        raise BadRun(f"{folder} was made by an older version and cannot be resumed: choose another --out")
    if is_late(header) != run.late or (run.listing != header["listing"] if run.late else run.data != header["data"]):
        raise BadRun(f"{folder} was made with other images or labels: resume with the same, or choose another --out")
    held, wanted = run.question.to_json(), header["question"]
    if run.chosen_afterwards:
        raise BadRun(f"{folder} was recertified from the answers of another run: it cannot be resumed")
    for name, value in wanted.items():
        if held[name] != value:
            raise BadRun(
                f"{folder} was made with {name} {held[name]}, not {value}: "
                "resume with the same settings, or choose another --out"
            )


def _check_no_links(folder: Path) -> None:
    for held in (folder, *(folder / name for name in (_VOTES, THUMBNAILS.folder, LOOKS.folder))):
        if not held.is_dir():
            continue
        with os.scandir(held) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise BadRun(f"{entry.path}: symbolic links within a run are not followed; nothing was changed")


def _locked(path: Path) -> Any:
    import fcntl  # POSIX only; imported here so that reading runs works everywhere

    file = open_to_append(path, inside=path.parent)  # leaves an existing lock as it is
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise BadRun(f"{path.parent}: another process is writing this run; wait for it or stop it") from error
    except OSError as error:
        file.close()
        raise BadRun(
            f"{path.parent}: the file system does not support locks ({error.strerror}): mount it with them (Lustre: flock), "
            "or choose another --out"
        ) from error
    return file


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
