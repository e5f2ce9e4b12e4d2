"""Denoisers by name, folder or file.

Architectures are imported by name on demand, so that Denoiser itself can load without an import cycle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dsmooth.denoisers.names import ARCHITECTURES, FETCHED, FORMS, SHIPPED, UNTRAINED, WRAPPED
from dsmooth.denoisers.weights import Description, read_weights
from dsmooth.errors import BadModel, last_line
from dsmooth.records.digests import digest_file
from dsmooth.services.hub import HUB, is_repository

if TYPE_CHECKING:
    from dsmooth.denoisers.base import Denoiser

__all__ = ["build", "certified_denoiser", "describe", "from_pretrained", "load_denoiser", "shipped_with"]

_MOST = 4096  # of any number in a configuration
_FOLDER = Path(__file__).parent / "shipped"


def build(architecture: str, config: Mapping[str, Any], sigma_range: tuple[float, float] | None = None) -> Denoiser:
    """An untrained denoiser; raises BadModel where name or configuration is unknown."""
    cls = ARCHITECTURES.load(architecture)
    try:
        denoiser: Denoiser = cls(**config)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise BadModel(f"{architecture} cannot be built with {dict(config)} ({error})") from error
    denoiser.sigma_range = sigma_range
    return denoiser


def load_denoiser(spec: Path | str) -> Denoiser:
    """The denoiser of that name, folder (model.safetensors inside) or safetensors file, in eval mode, float32.

    "tv" and "nlm" need no training; hf:owner/name is fetched from the Hugging Face Hub; diffusers:FOLDER is a model
    that diffusers saved, edm:FILE one of EDM as safetensors; import:package.module:factory calls a factory of no arguments,
    which returns a Denoiser, in a module that Python can import. Shipped names are checked against their digest. A bare file
    of DnCNN or FFDNet weights without our header is recognised by its arrays. Raises BadModel, with what is accepted, for
    anything else; never unpickles.
    """
    denoiser = _loaded(spec)
    scheme, colon, place = str(spec).rpartition(":")
    denoiser.name = str(spec) if FETCHED.find(str(spec)) else f"{scheme}{colon}{Path(place).name}"
    return denoiser


def shipped_with(digest: str) -> Denoiser | None:
    """The denoiser with this digest, of those whose weights come with the package."""
    denoisers = (load_denoiser(name) for name in SHIPPED)
    return next((denoiser for denoiser in denoisers if denoiser.digest() == digest), None)


def certified_denoiser(spec: str | None, digest: str | None, called: object = None) -> Denoiser | None:
    """The denoiser of that name; without a name, the shipped one with this digest (None: no denoiser).

    Raises BadModel otherwise, with the name that the run gives it (`called`).
    """
    if spec == "none" or (spec is None and digest is None):
        return None
    if spec is not None:
        return load_denoiser(spec)
    if (found := shipped_with(str(digest))) is None:
        told = f", called {called!r:.100}," if isinstance(called, str) else ""
        raise BadModel(f"the denoiser that was certified{told} does not come with dsmooth: pass it as -d")
    return found


def _loaded(spec: Path | str) -> Denoiser:
    if str(spec) in UNTRAINED:
        untrained: Denoiser = UNTRAINED.load(str(spec))()
        return untrained.eval()
    if WRAPPED.find(str(spec)) is not None:
        wrapped: Denoiser = WRAPPED.load(str(spec))(str(spec))
        return wrapped
    path = _path_of(spec)
    arrays, described = read_weights(path)
    if described is None:
        described = _recognise(path, arrays)
    _check_size(path, described, arrays)
    denoiser = build(described.architecture, described.config, described.sigma_range)
    try:
        denoiser.load_state_dict(arrays)
    except RuntimeError as error:
        first = last_line(error)
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
    if _parts(described.config) > len(arrays):  # before it is built: on meta too, each part takes time and memory
        raise BadModel(
            f"{path}: the weights do not fit {described.architecture} {str(described.config)[:200]}: it has more layers "
            f"than the file's {len(arrays)} arrays"
        )
    with torch.device("meta"):
        weights = build(described.architecture, described.config).state_dict().values()
    needed = sum(value.numel() for value in weights if value.is_floating_point())  # counters are not kept
    held = sum(array.numel() for array in arrays.values())
    if needed != held:
        raise BadModel(
            f"{path}: the weights do not fit {described.architecture} {described.config}: "
            f"it has {needed:,} numbers, the file {held:,}"
        )


def _parts(config: Mapping[str, Any]) -> int:
    """So many layers at least has the network of this configuration, of whatever architecture; each has an array or more."""
    counts = {
        name: sum(number for number in (value if isinstance(value, list) else [value]) if isinstance(number, int))
        for name, value in config.items()
    }
    return max(math.prod(counts.get(name, 1) for name in ("depth", "blocks", "units")), counts.get("decoder_blocks", 0))


def describe(spec: Path | str) -> Description:
    """The description in the weights file of that name, folder or path, or inferred from its arrays."""
    path = _path_of(spec)
    arrays, described = read_weights(path)
    return described or _recognise(path, arrays)


def _path_of(spec: Path | str) -> Path:
    if str(spec) in SHIPPED:
        path = _FOLDER / f"{spec}.safetensors"
        if not path.is_file() or digest_file(path) != SHIPPED[str(spec)]:
            raise BadModel(f"the shipped denoiser {spec!r} is missing or damaged: reinstall dsmooth")
        return path
    if FETCHED.find(str(spec)) is not None:
        fetched: Path = FETCHED.load(str(spec))(str(spec))
        return fetched
    path = Path(spec)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise BadModel(f"no denoiser {str(spec)!r}: expected {FORMS}")
    return path


def _recognise(path: Path, arrays: Mapping[str, torch.Tensor]) -> Description:
    shapes = {key: tuple(array.shape) for key, array in arrays.items()}
    for name in ARCHITECTURES:
        cls: type[Denoiser] = ARCHITECTURES.load(name)
        config = cls.config_of(shapes)
        if config is not None and set(cls(**config).state_dict()) == set(shapes):
            return Description(name, config)
    raise BadModel(f"{path}: has no dsmooth description, and its {len(arrays)} arrays are none of {ARCHITECTURES}")


def from_pretrained(name: Path | str, revision: str | None = None) -> Denoiser:
    """What load_denoiser finds under that name, folder or file; "owner/name", where it is none of these, is on the Hub."""
    if Path(name).exists() or not is_repository(str(name)):
        return load_denoiser(name)
    try:
        return load_denoiser(f"{HUB}{name}" + (f"@{revision}" if revision else ""))
    except BadModel as error:
        raise BadModel(f"there is no folder {str(name)!r}, and {error}") from error
