"""Weights that know what they are: safetensors with the architecture, the sigma range and the story in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.dncnn import DnCNN
from dsmooth.denoisers.ffdnet import FFDNet
from dsmooth.denoisers.memnet import MemNet
from dsmooth.denoisers.unet import UNet
from dsmooth.denoisers.untrained import UNTRAINED
from dsmooth.errors import BadModel, require
from dsmooth.records.digests import canonical_json, digest_file
from dsmooth.records.files import write_whole

__all__ = ["ARCHITECTURES", "HUB", "SHIPPED", "Description", "build", "describe", "load_denoiser", "save_denoiser"]

ARCHITECTURES: Final[dict[str, type[Denoiser]]] = {cls.architecture: cls for cls in (UNet, DnCNN, MemNet, FFDNet)}

SHIPPED: Final[dict[str, str]] = {
    "photo": "0818f0c0ecc337ee994f53a1e0f2d0960a88a019119d3bed37a48b9c8adda528",
    "photo-stab": "2d532251e13d013924995fd08ec13048295578f6680e16aae1973552e09a61da",
    "cifar10-mse": "4655dbe1da4533a21094653cbdee95f8e5a2dd51e18033a25bc10b53603dd203",
    "cifar10-stab": "6c093f0a0acc925e92e8a96441204ff7d5920fb82616d9f109c6911bb7b4f1dd",
    "cifar10-dncnn-mse": "1471ce00df4bd9380f04336f6e28f8ec76581b4fedd038e4df6de57fdd99bce8",
    "cifar10-dncnn-stab": "00553c24111304e308dd3f6fcf2b229890bf09577ccef0f8ddb71bf7274b5ff5",
}
"""Name -> SHA-256 of shipped/NAME.safetensors; a file that differs is refused."""

HUB: Final = "hf:"
"""What the name of a repository of the Hugging Face Hub begins with: hf:owner/name, or hf:owner/name@revision."""

_KEY = "dsmooth"
_SCHEMA = 1
_MOST = 4096  # of any number in a configuration
_BARE = (FFDNet, DnCNN)  # architectures that a file without a header is tried as, most particular first
_FOLDER = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Description:
    """What a weights file says of itself."""

    architecture: str
    config: dict[str, Any]
    sigma_range: tuple[float, float] | None = None
    data: str = "unknown"
    metrics: dict[str, Any] = field(default_factory=dict)


def build(architecture: str, config: Mapping[str, Any], sigma_range: tuple[float, float] | None = None) -> Denoiser:
    """An untrained denoiser; raises BadModel where name or configuration is unknown."""
    try:
        cls = ARCHITECTURES[architecture]
    except KeyError:
        known = ", ".join(ARCHITECTURES)
        raise BadModel(f"expected one of the architectures {known}, got {architecture!r}") from None
    try:
        denoiser = cls(**config)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise BadModel(f"{architecture} cannot be built with {dict(config)} ({error})") from error
    denoiser.sigma_range = sigma_range
    return denoiser


def save_denoiser(
    denoiser: Denoiser,
    path: Path | str,
    *,
    data: str,
    metrics: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Weights and description are in `path`, all or nothing.

    float16 keeps 11 bits of every weight and halves the file; the denoiser that is loaded again is the rounded one. The
    statistics of batch normalisation stay in float32: they may be outside the range of float16. Metrics that are not
    finite are written as null.
    """
    if denoiser.architecture not in ARCHITECTURES:
        raise BadModel(f"expected a denoiser with weights ({', '.join(ARCHITECTURES)}), got {denoiser.architecture!r}")
    story = {
        "schema": _SCHEMA,
        "architecture": denoiser.architecture,
        "config": denoiser.config,
        "sigma_range": None if denoiser.sigma_range is None else list(denoiser.sigma_range),
        "data": data,
        "metrics": json.loads(json.dumps(dict(metrics)), parse_constant=lambda _: None),
    }
    weights = {key: value.to(dtype) for key, value in denoiser.named_parameters()}
    statistics = {key: value.float() for key, value in denoiser.named_buffers() if value.is_floating_point()}
    arrays = {key: value.detach().cpu().contiguous() for key, value in {**weights, **statistics}.items()}
    if not all(bool(torch.isfinite(array).all()) for array in arrays.values()):
        raise BadModel(f"expected finite weights, got NaN, infinity or values beyond {dtype}; {path} was not written")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadModel(f"{path.parent} cannot be made a folder ({error.strerror}): choose another") from error
    write_whole(path, save(arrays, {_KEY: canonical_json(story)}))


def load_denoiser(spec: Path | str) -> Denoiser:
    """The denoiser of that name, folder (model.safetensors inside) or safetensors file, in eval mode, float32.

    "tv" and "nlm" need no training; hf:owner/name is fetched from the Hugging Face Hub. Shipped names are checked against
    their digest. A bare file of DnCNN or FFDNet weights without our header is recognised by its arrays. Raises BadModel,
    with what is accepted, for anything else; never unpickles.
    """
    if str(spec) in UNTRAINED:
        return UNTRAINED[str(spec)]().eval()
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


def _recognise(path: Path, arrays: Mapping[str, torch.Tensor]) -> Description:
    shapes = {key: tuple(array.shape) for key, array in arrays.items()}
    for cls in _BARE:
        config = cls.config_of(shapes)
        if config is not None and set(cls(**config).state_dict()) == set(shapes):
            return Description(cls.architecture, config)
    known = ", ".join(cls.architecture for cls in _BARE)
    raise BadModel(f"{path}: has no dsmooth description, and its {len(arrays)} arrays are none of {known}")
