"""What users describe in JSON: which labels make a class, and what the wire of an http:// model carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadParameter
from dsmooth.records.digests import canonical_json
from dsmooth.records.files import TEXT, read_bounded
from dsmooth.records.schema import no_duplicates

__all__ = ["read_description"]

_DEEPEST: Final = 50


def read_description(path: Path | str, what: str) -> dict[str, Any]:
    """The object in a JSON file; raises BadParameter where it is none, says a name twice, or could not be recorded."""
    try:
        value = json.loads(read_bounded(Path(path), TEXT).decode(), object_pairs_hook=no_duplicates)
        _check_depth(value, _DEEPEST)
        canonical_json(value).encode()  # as records will hold it
    except (OSError, RecursionError, ValueError) as error:
        raise BadParameter(f"{path}: expected {what} as JSON, cannot read it ({error})") from error
    if not isinstance(value, dict):
        raise BadParameter(f"{path}: expected {what} as a JSON object, got {type(value).__name__}")
    return value


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(part, left - 1)
