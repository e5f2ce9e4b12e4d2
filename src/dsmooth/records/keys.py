"""The key of a run: committed to at its start, secret while it goes on, revealed at its end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.files import SMALL, TEXT, read_bounded, write_whole
from dsmooth.records.question import Question, Role
from dsmooth.records.reading import strict_json

__all__ = [
    "END",
    "SECRET",
    "SOURCES",
    "Revealed",
    "commitment_of",
    "count_attempts",
    "is_late",
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

_OLD: Final = (1, 2)
"""Schemas of runs that said elsewhere which images they are about."""
_END_FIELDS: Final = {"key", "records", "last"}


class Revealed(NamedTuple):
    """What the end of a run says, beside the number and last digest of its records."""

    key: bytes
    data: str | None
    """Digest of names, labels and pixels of all images, for a run that fixed only their listing when it began."""


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
        raise BadRun(f"{path}: this key does not match the commitment made at the start of the run")
    return key


def reveal(folder: Path, key: bytes, records: int, last: str, data: str | None = None) -> None:
    """The finished run says its key and how many records it has, and its images where `data` is their digest.

    The secret file is gone.
    """
    end = {"key": key.hex(), "records": records, "last": last, **({} if data is None else {"data": data})}
    if not (folder / END).exists():
        write_whole(folder / END, json.dumps(end, indent=2).encode() + b"\n", inside=folder)
    (folder / SECRET).unlink(missing_ok=True)


def read_end(folder: Path, commitment: object, records: int, last: str, *, late: bool = False) -> Revealed | None:
    """What was revealed, None while the run goes on; raises Disproved where key or records are others than were sealed.

    `late`: whether the images are to be named here.
    """
    path = folder / END
    try:
        end = strict_json(read_bounded(path, SMALL, inside=folder))
        key = bytes.fromhex(end["key"])
    except FileNotFoundError:
        return None
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise BadRun(f"{path}: expected the end of a run, cannot read it ({error})") from error
    fields = _END_FIELDS | ({"data"} if late else set())
    if end.keys() != fields or not isinstance(end.get("data", ""), str):
        raise BadRun(f"{path}: expected the fields {', '.join(sorted(fields))}, got {', '.join(sorted(end))}")
    if commitment_of(key) != commitment:
        raise Disproved(f"{path}: the revealed key does not match the commitment made at the start of the run")
    if (end["records"], end["last"]) != (records, last):
        raise Disproved(
            f"{path}: the run ended with {end['records']} records, but now has {records}, or different ones"
        )
    return Revealed(key, end.get("data"))


def is_late(header: Mapping[str, Any]) -> bool:
    """Whether the run with this header fixed only the listing of its images when it began, and names their pixels last."""
    return header.get("schema") not in _OLD and "data" in header and header["data"] is None


def count_attempts(folder: Path, header: Mapping[str, Any], commitment: str) -> int:
    """1 + the runs beside `folder` with the same subject (images, networks, noise) and other keys.

    Every further attempt is another chance for a false certificate, and readers should know. Runs that were deleted or are
    elsewhere are not counted.
    """
    others = set()
    for path in folder.absolute().parent.glob("*/run.json"):
        try:
            other = strict_json(read_bounded(path, TEXT, inside=path.parent))
            if _subject(other) == _subject(header) and _same_images(other, header):
                others.add(str(other["key_commitment"]))
        except (KeyError, OSError, TypeError, ValueError):
            continue  # no run of ours
    return 1 + len(others - {commitment})


def _subject(header: Mapping[str, Any]) -> list[Any]:
    """What a run asks about, beside its images: networks, noise."""
    return [header["question"][field.name] for field in Question.having(Role.SUBJECT)]


def _same_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs are about the same images by their pixels or, where these were not fixed first, their listing."""
    listings = (one.get("listing"), other.get("listing"))
    by_listing = listings[0] is not None and listings[0] == listings[1]
    return by_listing if None in (one["data"], other["data"]) else one["data"] == other["data"]
