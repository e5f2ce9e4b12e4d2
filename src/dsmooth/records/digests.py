"""Names for images, weights and files that change when one bit of them changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "canonical_json", "digest_arrays", "digest_file", "digest_image", "digest_json", "digest_list", "is_unknown",
    "unknown_digest",
]  # fmt: skip

_BLOCK = 1 << 20
_UNKNOWN = "unknown: "


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value that digests are taken of: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_json(value: Any) -> str:
    """SHA-256 of a JSON value's canonical spelling, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_list(values: Iterable[Any]) -> str:
    """digest_json of a list of these values, which come one after another: any number of them."""
    name = hashlib.sha256(b"[")
    for i, value in enumerate(values):
        name.update(("," * (i > 0) + canonical_json(value)).encode())
    name.update(b"]")
    return name.hexdigest()


def digest_image(pixels: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of an image's shape and bytes (H, W, C, row by row): the image that a certificate is about."""
    name = hashlib.sha256(f"image {pixels.dtype.str} {pixels.shape}\n".encode())
    name.update(np.ascontiguousarray(pixels).tobytes())
    return name.hexdigest()


def digest_arrays(kind: str, named: Iterable[tuple[str, npt.NDArray[Any]]]) -> str:
    """SHA-256 over names, types, shapes and bytes of a network's arrays, in order of name; `kind` is hashed first."""
    name = hashlib.sha256(f"{kind}\n".encode())
    for key, array in sorted(named, key=lambda item: item[0]):
        name.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        name.update(np.ascontiguousarray(array).tobytes())
    return name.hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    name = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            name.update(block)
    return name.hexdigest()


def unknown_digest(function: object) -> str:
    """The placeholder digest of a plain function, which cannot be compared with others: it holds its name."""
    kind = type(function)
    name = getattr(function, "__qualname__", kind.__qualname__)
    return f"{_UNKNOWN}{kind.__module__}.{name}"


def is_unknown(digest: str | None) -> bool:
    """Whether it is the placeholder of a plain function."""
    return digest is not None and digest.startswith(_UNKNOWN)
