"""Self-describing weights: safetensors with architecture, sigma range and provenance in the header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dsmooth.errors import BadModel
from dsmooth.records.digests import canonical_json
from dsmooth.records.files import write_whole
from dsmooth.records.reading import strict_json
from dsmooth.theory.bounds import number_or_nan

__all__ = ["Description", "read_arrays", "read_weights", "write_weights"]

_KEY = "dsmooth"
_SCHEMA = 1


@dataclass(frozen=True)
class Description:
    """The description in a weights file."""

    architecture: str
    config: dict[str, Any]
    sigma_range: tuple[float, float] | None = None
    data: str = "unknown"
    metrics: dict[str, Any] = field(default_factory=dict)


def write_weights(path: Path | str, described: Description, arrays: Mapping[str, torch.Tensor]) -> None:
    """Arrays and description are in `path`, all or nothing; folders on the way are made."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadModel(f"{path.parent} cannot be made a folder ({error.strerror}): choose another") from error
    story = canonical_json({"schema": _SCHEMA, **asdict(described)})
    write_whole(path, save(dict(arrays), {_KEY: story}))


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], Description | None]:
    """As `read_arrays`, with what the file says of itself; None for a bare file. Raises BadModel where it cannot be read."""
    arrays, header = read_arrays(path)
    return arrays, _parse(path, header[_KEY]) if _KEY in header else None


def read_arrays(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The arrays in float32, and the texts in the header.

    Raises BadModel for what is no safetensors file, is damaged, or holds anything but finite floating-point numbers.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise BadModel(f"{path}: expected a safetensors file, cannot read it ({error})") from error
    for key, array in arrays.items():
        if not array.is_floating_point() or not bool(torch.isfinite(array).all()):
            raise BadModel(
                f"{path}: expected a denoiser's weights, all finite numbers in floating point, got {key} with NaN, infinity "
                f"or {array.dtype}"
            )
        arrays[key] = array.float()
    return arrays, header


def _parse(path: Path, header: str) -> Description:
    try:
        story = strict_json(header)
        if story["schema"] != _SCHEMA:
            raise BadModel(f"{path}: expected a denoiser of schema {_SCHEMA}, got {story['schema']!r}")
        return Description(
            architecture=str(story["architecture"]),
            config=dict(story["config"]),
            sigma_range=_range(story["sigma_range"]),
            data=str(story["data"]),
            metrics=dict(story["metrics"]),
        )
    except BadModel:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise BadModel(f"{path}: its description is damaged ({error})") from error


def _range(bounds: Any) -> tuple[float, float] | None:
    """The sigmas of a description; raises ValueError unless they are finite, above 0 and in order."""
    if bounds is None:
        return None
    low, high = (number_or_nan(bound) for bound in bounds)
    if not 0.0 < low <= high < math.inf:
        raise ValueError("expected sigma_range as two finite numbers above 0, the smaller one first")
    return low, high
