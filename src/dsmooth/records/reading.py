"""Untrusted JSON: of bounded depth, with unique names."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["no_duplicates", "strict_json"]

_DEEPEST: Final = 200
_STRING: Final = re.compile(
    r'"[^"]*"'
)  # without escapes, which are taken out before: a repeated group would eat memory
_BRACKET: Final = re.compile(r"[\[\]{}]")


def strict_json(text: str | bytes, *, deepest: int = _DEEPEST, **hooks: Any) -> Any:
    """The JSON value; `hooks` are those of json.loads.

    Raises ValueError for what is no JSON, nested deeper than `deepest`, or has a name twice in an object.
    The depth is bounded here, because any library may raise Python's own bound, the limit of recursion, until the process
    dies of deep JSON.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    if text.count("[") + text.count("{") > deepest:
        _check_depth(text, deepest)
    return json.loads(text, object_pairs_hook=no_duplicates, **hooks)


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which a name may stand once only; raises ValueError otherwise."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("expected each field once, got one twice")
    return value


def _check_depth(text: str, deepest: int) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text.replace("\\\\", "").replace('\\"', ""))):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > deepest:
            raise ValueError(f"nested more than {deepest} deep")
