"""What users describe in JSON: which labels make a class, and what the wire of an http:// model carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadParameter
from dsmooth.records.digests import canonical_json
from dsmooth.records.files import TEXT, read_bounded
from dsmooth.records.reading import strict_json

__all__ = ["read_description"]

_DEEPEST: Final = 49


def read_description(path: Path | str, what: str) -> dict[str, Any]:
    """The object in a JSON file; raises BadParameter where it is none, says a name twice, or could not be recorded."""
    try:
        value = strict_json(read_bounded(Path(path), TEXT).decode(), deepest=_DEEPEST)
        canonical_json(value).encode()  # as records will hold it
    except (OSError, ValueError) as error:
        raise BadParameter(f"{path}: expected {what} as JSON, cannot read it ({error})") from error
    if not isinstance(value, dict):
        raise BadParameter(f"{path}: expected {what} as a JSON object, got {type(value).__name__}")
    return value
