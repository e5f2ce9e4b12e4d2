"""The key of a run: committed to at its start, secret while it goes on, revealed at its end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.files import SMALL, TEXT, read_bounded, write_whole
from dsmooth.records.question import Question, Role
from dsmooth.records.reading import strict_json

__all__ = [
    "END",
    "SECRET",
    "SOURCES",
    "commitment_of",
    "count_attempts",
    "keep_secret",
    "read_end",
    "read_secret",
    "reveal",
]

SECRET: Final = "key.secret"
"""The key as hexadecimal digits, readable by the owner alone, until the run is finished."""

END: Final = "end.json"
"""The revealed key, and the number and last digest of the records: after it nothing can be added or cut off."""

SOURCES: Final = ("os", "seed")
"""Where a key can be from: the operating system, or a user's number, which others can guess."""

_END_FIELDS = {"key", "records", "last"}


def commitment_of(key: bytes) -> str:
    """SHA-256 of the key: may be published before the key is."""
    return hashlib.sha256(key).hexdigest()


def keep_secret(folder: Path, key: bytes) -> None:
    """The key is on disk, for the owner alone."""
    write_whole(folder / SECRET, key.hex().encode() + b"\n", mode=0o600, inside=folder)


def read_secret(folder: Path, commitment: str) -> bytes:
    """The key of an unfinished run; raises BadRun where it is missing or not the one that was committed to."""
    path = folder / SECRET
    try:
        key = bytes.fromhex(read_bounded(path, SMALL, inside=folder).decode())
    except (OSError, ValueError) as error:
        raise BadRun(f"{path}: expected the secret key of the unfinished run, cannot read it ({error})") from error
    if commitment_of(key) != commitment:
        raise BadRun(f"{path}: this key is not the one that the run was committed to at its start")
    return key


def reveal(folder: Path, key: bytes, records: int, last: str) -> None:
    """The finished run says its key and how many records it has; the secret file is gone."""
    end = {"key": key.hex(), "records": records, "last": last}
    if not (folder / END).exists():
        write_whole(folder / END, json.dumps(end, indent=2).encode() + b"\n", inside=folder)
    (folder / SECRET).unlink(missing_ok=True)


def read_end(folder: Path, commitment: object, records: int, last: str) -> bytes | None:
    """The revealed key, None while the run goes on; raises Disproved where key or records are others than were sealed."""
    path = folder / END
    try:
        end = strict_json(read_bounded(path, SMALL, inside=folder))
        key = bytes.fromhex(end["key"])
    except FileNotFoundError:
        return None
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise BadRun(f"{path}: expected the end of a run, cannot read it ({error})") from error
    if end.keys() != _END_FIELDS:
        raise BadRun(f"{path}: expected the fields {', '.join(sorted(_END_FIELDS))}, got {', '.join(sorted(end))}")
    if commitment_of(key) != commitment:
        raise Disproved(f"{path}: the revealed key is not the one that the run was committed to at its start")
    if (end["records"], end["last"]) != (records, last):
        raise Disproved(f"{path}: the run ended with {end['records']} records, and now has {records} or other ones")
    return key


def count_attempts(folder: Path, header: Mapping[str, Any], commitment: str) -> int:
    """1 + the runs beside `folder` that ask about the same subject (images, networks, noise) under other keys.

    Every further attempt is another chance for a false certificate, and the reader should know. What was deleted or lies
    elsewhere is not seen.
    """
    others = set()
    for path in folder.absolute().parent.glob("*/run.json"):
        try:
            other = strict_json(read_bounded(path, TEXT, inside=path.parent))
            if _subject(other) == _subject(header):
                others.add(str(other["key_commitment"]))
        except (KeyError, OSError, TypeError, ValueError):
            continue  # no run of ours
    return 1 + len(others - {commitment})


def _subject(header: Mapping[str, Any]) -> list[Any]:
    """What a run asks about: images, networks, noise."""
    return [header["data"], *(header["question"][field.name] for field in Question.having(Role.SUBJECT))]
