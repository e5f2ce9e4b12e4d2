"""Whether JSON values have the types that are declared: where digests were made to fit, nothing else would notice."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from dsmooth.errors import BadRun
from dsmooth.theory.votes import is_utf8

__all__ = ["check_types", "check_values"]

_MOST: Final = 10**12
"""Of whole numbers, on either side of 0: what certificate files can hold."""


def check_types(value: object) -> None:
    """Raises BadRun, naming the field, unless all fields of a dataclass hold what their types say.

    Whole numbers are at most 1e12 on either side of 0, others finite; True is no number, and text can be written
    as UTF-8.
    """
    kind: Any = type(value)
    hints = _hints(kind)
    check_values({name: getattr(value, name) for name in hints}, hints)


def check_values(values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """As `check_types`, for named values and their types."""
    for name, hint in hints.items():
        if name not in values:
            raise BadRun(f"lacks {name}")
        if not _fits(values[name], hint):
            raise BadRun(f"expected {name} of another type or size, got {type(values[name]).__name__}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(part, arguments[1]) for part in value.values())
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return isinstance(value, origin) and all(_fits(part, arguments[0]) for part in value)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(arguments) and all(map(_fits, value, arguments))
    if hint is int:
        return type(value) is int and -_MOST <= value <= _MOST
    if hint is float:
        return type(value) is float and math.isfinite(value)
    if hint is str:
        return isinstance(value, str) and is_utf8(value)
    return hint is Any or isinstance(value, hint)
