"""Weights that know what they are: safetensors with the architecture, the sigma range and the story in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dsmooth.denoisers import diffusers_folder
from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.dncnn import DnCNN
from dsmooth.denoisers.ffdnet import FFDNet
from dsmooth.denoisers.memnet import MemNet
from dsmooth.denoisers.unet import UNet
from dsmooth.denoisers.untrained import UNTRAINED
from dsmooth.errors import BadModel, require
from dsmooth.records.digests import canonical_json, digest_file
from dsmooth.records.files import write_whole

__all__ = ["Description", "read_weights", "write_weights"]

_KEY = "dsmooth"
_SCHEMA = 1


@dataclass(frozen=True)
class Description:
    """What a weights file says of itself."""

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
    """The arrays in float32, and what the file says of itself; None for a bare file.

    "tv" and "nlm" need no training; hf:owner/name is fetched from the Hugging Face Hub; diffusers:FOLDER is a model that
    diffusers saved. Shipped names are checked against
    their digest. A bare file of DnCNN or FFDNet weights without our header is recognised by its arrays. Raises BadModel,
    with what is accepted, for anything else; never unpickles.
    """
    if str(spec) in UNTRAINED:
        return UNTRAINED[str(spec)]().eval()
    if str(spec).startswith(diffusers_folder.PREFIX):
        return diffusers_folder.load_diffusers(str(spec).removeprefix(diffusers_folder.PREFIX))
    path = _path_of(spec)
    arrays, described = _read(path)
    if described is None:
        described = _recognise(path, arrays)
    _check_size(path, described, arrays)
    denoiser = build(described.architecture, described.config, described.sigma_range)
    try:
        denoiser.load_state_dict(arrays)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise BadModel(
            f"{path}: the weights do not fit {described.architecture} {described.config}: {first}"
        ) from error
    denoiser.data, denoiser.metrics = described.data, described.metrics
    return denoiser.eval().requires_grad_(False)


def _check_size(path: Path, described: Description, arrays: Mapping[str, torch.Tensor]) -> None:
    """Raises BadModel where the network would be larger than its arrays: a short file must not claim all memory."""
    numbers = [part for value in described.config.values() for part in (value if isinstance(value, list) else [value])]
    if any(isinstance(number, int | float) and not 0 <= number <= _MOST for number in numbers) or len(numbers) > _MOST:
        raise BadModel(f"{path}: {described.architecture} cannot be built with {str(described.config)[:200]}")
    with torch.device("meta"):
        weights = build(described.architecture, described.config).state_dict().values()
    needed = sum(value.numel() for value in weights if value.is_floating_point())  # counters are not kept
    held = sum(array.numel() for array in arrays.values())
    if needed != held:
        raise BadModel(
            f"{path}: the weights do not fit {described.architecture} {described.config}: "
            f"it has {needed:,} numbers, the file {held:,}"
        )


def describe(spec: Path | str) -> Description:
    """What the file says of itself, or what its arrays show."""
    path = _path_of(spec)
    arrays, described = _read(path)
    return described or _recognise(path, arrays)


def _path_of(spec: Path | str) -> Path:
    if str(spec) in SHIPPED:
        path = _FOLDER / f"{spec}.safetensors"
        if not path.is_file() or digest_file(path) != SHIPPED[str(spec)]:
            raise BadModel(f"the shipped denoiser {spec!r} is missing or damaged: reinstall dsmooth")
        return path
    if str(spec).startswith(HUB):
        return _fetched(str(spec).removeprefix(HUB))
    path = Path(spec)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        known = ", ".join([*SHIPPED, *UNTRAINED])
        raise BadModel(
            f"no denoiser {str(spec)!r}: expected a name ({known}), a folder, a .safetensors file or {HUB}owner/name"
        )
    return path


def _fetched(repository: str) -> Path:
    """The weights of a repository of the Hub, from its cache where they are there."""
    hub = require("huggingface_hub", "hub")
    name, _, revision = repository.partition("@")
    try:
        return Path(hub.hf_hub_download(name, "model.safetensors", revision=revision or None))
    except Exception as error:  # the client raises many kinds, none of which is this program's fault
        raise BadModel(f"{HUB}{repository} cannot be fetched from the Hub ({type(error).__name__})") from error


def _read(path: Path) -> tuple[dict[str, torch.Tensor], Description | None]:
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_KEY)
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
    return arrays, None if header is None else _parse(path, header)


def _parse(path: Path, header: str) -> Description:
    try:
        story = json.loads(header)
        if story["schema"] != _SCHEMA:
            raise BadModel(f"{path}: expected a denoiser of schema {_SCHEMA}, got {story['schema']!r}")
        bounds = story["sigma_range"]
        return Description(
            architecture=str(story["architecture"]),
            config=dict(story["config"]),
            sigma_range=None if bounds is None else (float(bounds[0]), float(bounds[1])),
            data=str(story["data"]),
            metrics=dict(story["metrics"]),
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        if isinstance(error, BadModel):
            raise
        raise BadModel(f"{path}: its description is damaged ({error})") from error
