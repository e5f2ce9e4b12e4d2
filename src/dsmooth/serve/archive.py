"""Certificates that were answered: kept for their callers, as files where the operator wants them, and found again.

DIR/CALLER/ADDRESS/ATTEMPT-QUESTION.json   ADDRESS: digest of image and subject; QUESTION: digest of all that was asked

Every part of a path is a digest, a number or a name from the operator's file of keys: nothing of a request reaches the disk.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsmooth.errors import BadRun
from dsmooth.records.certificate_file import CertificateFile, read_certificate
from dsmooth.records.digests import digest_json
from dsmooth.records.files import TEXT, read_bounded, write_whole
from dsmooth.records.outputs import check_writable
from dsmooth.records.question import Question, Role

__all__ = ["Archive", "Kept", "Subject"]

_ID: Final = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,8})", re.ASCII)
_MOST_KEPT: Final = 1000  # certificates in memory, where there is no folder
_MOST_BYTES: Final = 64 << 20  # of their files
_MOST_COUNTED: Final = 1 << 16  # pictures whose attempts are remembered beyond those that were answered


@dataclass(frozen=True)
class Subject:
    """Whose picture it is, and what is asked of it."""

    caller: str
    image: str
    """Digest of the image."""
    question: Question

    @property
    def address(self) -> str:
        """The same for all attempts at this picture and subject."""
        return digest_json([self.image, self.question.to_json(Role.SUBJECT)])[:32]

    @property
    def asked(self) -> str:
        """Another for each question, circumstances included."""
        return digest_json(self.question.to_json())[:16]


@dataclass(frozen=True)
class Kept:
    """A certificate that was answered."""

    id: str
    file: CertificateFile
    document: bytes
    """What a caller downloads: the file's text, sealed where the operator signs."""


class Archive:
    """Where certificates are kept. Without a folder: the last thousand (64 MB at most), in memory.

    Threads may use it at once; one server has a folder.

    sealed: what becomes of a certificate's text before it is kept (a signature, say). Raises BadRun where the folder
    cannot be written to.
    """

    def __init__(self, folder: Path | None, sealed: Callable[[bytes], bytes] = lambda text: text) -> None:
        if folder is not None:
            check_writable(folder)
        self._folder, self._sealed = folder, sealed
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[str, Kept]] = OrderedDict()
        self._begun: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._bytes = 0

    def begin(self, subject: Subject) -> int:
        """The number of this attempt at a picture and subject, from 1: one that is given up counts too."""
        with self._lock:
            place = subject.caller, subject.address
            number = 1 + max([self._begun.pop(place, 0), *self._attempts(*place)])
            self._begun[place] = number
            if len(self._begun) > _MOST_COUNTED:
                self._begun.popitem(last=False)
            return number

    def keep(self, subject: Subject, attempt: int, file: CertificateFile) -> Kept:
        """The certificate can be had again; on disk on return where there is a folder. Raises OSError where that fails."""
        kept = Kept(f"{subject.address}-{attempt}", file, self._sealed(file.text().encode()))
        if self._folder is None:
            with self._lock:
                self._kept[subject.caller, kept.id] = (subject.asked, kept)
                self._bytes += len(kept.document)
                while len(self._kept) > _MOST_KEPT or (self._bytes > _MOST_BYTES and len(self._kept) > 1):
                    self._bytes -= len(self._kept.popitem(last=False)[1][1].document)
        else:
            place = self._folder / subject.caller / subject.address
            self._folder.mkdir(parents=True, exist_ok=True)
            for folder in (place.parent, place):  # a mode is for the last folder only
                folder.mkdir(exist_ok=True, mode=0o700)
            write_whole(place / f"{attempt}-{subject.asked}.json", kept.document, mode=0o600)
        return kept

    def get(self, caller: str, name: str) -> bytes | None:
        """The document of the caller's certificate of that id; None where there is none."""
        match = _ID.fullmatch(name)
        if match is None:
            return None
        if self._folder is None:
            with self._lock:
                found = self._kept.get((caller, name))
            return None if found is None else found[1].document
        files = (self._folder / caller / match[1]).glob(f"{match[2]}-*.json")
        return next((read_bounded(path, TEXT) for path in files), None)

    def find(self, subject: Subject, version: str | None = None) -> Kept | None:
        """The caller's first certificate in answer to the same question about the same picture; None where there is none.

        version: of a service's model. What another version said is no answer, as far as both are known.
        """
        return next((kept for kept in self._answers(subject) if _is_of(kept.file, version)), None)

    def _answers(self, subject: Subject) -> Iterator[Kept]:
        """All of them, in the order of attempts."""
        if self._folder is None:
            with self._lock:
                names = [f"{subject.address}-{attempt}" for attempt in self._attempts(subject.caller, subject.address)]
                kept = [self._kept[subject.caller, name] for name in names]
            yield from (one for asked, one in kept if asked == subject.asked)
            return
        place = self._folder / subject.caller / subject.address
        for attempt in self._attempts(subject.caller, subject.address, subject.asked):
            path = place / f"{attempt}-{subject.asked}.json"
            with suppress(BadRun, OSError):  # a damaged file answers nothing
                yield Kept(f"{subject.address}-{attempt}", read_certificate(path), read_bounded(path, TEXT))

    def _attempts(self, caller: str, address: str, asked: str = "*") -> list[int]:
        """Those that were answered, in order; on disk, of one question where it is named."""
        if self._folder is None:
            return sorted(int(name[33:]) for who, name in self._kept if who == caller and name.startswith(address))
        place = self._folder / caller / address
        names = [path.name.partition("-")[0] for path in place.glob(f"*-{asked}.json")]
        return sorted(int(name) for name in names if name.isdecimal())


def _is_of(file: CertificateFile, version: str | None) -> bool:
    """Whether it may be of this version of a service's model."""
    recorded = (file.record.service or {}).get("version")
    return version is None or recorded is None or recorded == version
