"""Denoisers written down: a weights file, or a folder that people can exchange."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dsmooth.denoisers.card import card
from dsmooth.denoisers.names import ARCHITECTURES
from dsmooth.denoisers.weights import Description, write_weights
from dsmooth.errors import BadModel
from dsmooth.records.files import write_whole

if TYPE_CHECKING:
    from dsmooth.denoisers.base import Denoiser

__all__ = ["save_denoiser", "save_folder"]


def save_denoiser(
    denoiser: Denoiser,
    path: Path | str,
    *,
    data: str,
    metrics: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> Description:
    """Weights and description are in `path`, all or nothing; answers with the description.

    float16 keeps 11 bits of every weight and halves the file; the denoiser that is loaded again is the rounded one. The
    statistics of batch normalisation stay in float32: they may be outside the range of float16. Metrics that are not
    finite are written as null.
    """
    if denoiser.architecture not in ARCHITECTURES:
        raise BadModel(f"expected a denoiser with weights ({ARCHITECTURES}), got {denoiser.architecture!r}")
    weights = {key: value.to(dtype) for key, value in denoiser.named_parameters()}
    statistics = {key: value.float() for key, value in denoiser.named_buffers() if value.is_floating_point()}
    arrays = {key: value.detach().cpu().contiguous() for key, value in {**weights, **statistics}.items()}
    if not all(bool(torch.isfinite(array).all()) for array in arrays.values()):
        raise BadModel(f"expected finite weights, got NaN, infinity or values beyond {dtype}; {path} was not written")
    finite = json.loads(json.dumps(dict(metrics)), parse_constant=lambda _: None)
    described = Description(denoiser.architecture, denoiser.config, denoiser.sigma_range, data, finite)
    write_weights(path, described, arrays)
    return described


def save_folder(
    denoiser: Denoiser, folder: Path | str, *, data: str | None, metrics: Mapping[str, Any] | None, license: str | None
) -> Path:
    """`folder` holds model.safetensors, config.json and the card README.md."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadModel(f"{folder} is a file: choose a folder")
    described = save_denoiser(
        denoiser,
        folder / "model.safetensors",
        data=denoiser.data if data is None else data,
        metrics=denoiser.metrics if metrics is None else metrics,
    )
    write_whole(folder / "config.json", json.dumps(asdict(described), indent=2) + "\n")
    write_whole(folder / "README.md", card(described, license))
    return folder
