"""Denoisers as people exchange them: a folder with weights, config.json and a model card, or a repository of the Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.weights import HUB, Description, describe, load_denoiser, save_denoiser
from dsmooth.errors import BadModel, require
from dsmooth.records.files import write_whole

__all__ = ["from_pretrained", "push_to_hub", "save_pretrained"]

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def from_pretrained(name: Path | str, revision: str | None = None) -> Denoiser:
    """What load_denoiser finds under that name, folder or file; "owner/name", where it is none of these, is on the Hub."""
    if Path(name).exists() or not _REPOSITORY.fullmatch(str(name)):
        return load_denoiser(name)
    try:
        return load_denoiser(f"{HUB}{name}" + (f"@{revision}" if revision else ""))
    except BadModel as error:
        raise BadModel(f"there is no folder {str(name)!r}, and {error}") from error


def save_pretrained(
    denoiser: Denoiser, folder: Path | str, *, data: str | None, metrics: Mapping[str, Any] | None, license: str | None
) -> Path:
    """`folder` holds model.safetensors, config.json and the card README.md."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadModel(f"{folder} is a file: choose a folder")
    weights = folder / "model.safetensors"
    save_denoiser(
        denoiser,
        weights,
        data=denoiser.data if data is None else data,
        metrics=denoiser.metrics if metrics is None else metrics,
    )
    described = describe(weights)
    write_whole(folder / "config.json", json.dumps(asdict(described), indent=2) + "\n")
    write_whole(folder / "README.md", _card(described, license))
    return folder


def push_to_hub(folder: Path | str, repository: str, *, private: bool) -> str:
    """The address of the folder's copy on the Hub; the token is the one of `hf auth login` or HF_TOKEN."""
    hub = require("huggingface_hub", "hub")
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        return str(hub.upload_folder(repo_id=repository, folder_path=str(folder)).repo_url)
    except Exception as error:  # the client raises many kinds, none of which is this program's fault
        raise BadModel(f"{repository} cannot be written on the Hub ({type(error).__name__})") from error


def _card(described: Description, license: str | None) -> str:
    """YAML for the Hub (every value is JSON, which is YAML too), then words."""
    head = {"library_name": "dsmooth", "tags": ["denoising", "certified-robustness", "randomized-smoothing"]}
    if license is not None:
        head["license"] = license
    recipe = described.metrics.get("recipe")
    measured = {key: value for key, value in described.metrics.items() if key != "recipe"}
    low, high = described.sigma_range or (None, None)
    served = "unknown noise levels" if low is None else f"sigma {low:g}" + ("" if low == high else f" to {high:g}")
    return "\n".join(
        [
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
            "---",
            f"# A denoiser for {served}",
            "",
            "It takes Gaussian noise out of images, so that any pretrained classifier behind it becomes provably robust.",
            "",
            "```python",
            "from dsmooth import Denoiser, SmoothedClassifier",
            "",
            'denoiser = Denoiser.from_pretrained("FOLDER")  # or owner/name',
            f"smoothed = SmoothedClassifier(model, denoiser, sigma={high or 0.25:g})",
            "```",
            "",
            f"Network: `{described.architecture}` with `{json.dumps(described.config)}`. Pixels are in [0, 1].",
            "",
            "## Data",
            "",
            described.data,
            "",
            "## Measured",
            "",
            "On images held out from the training set, by sigma; not certified figures.",
            "",
            "```json",
            json.dumps(measured, indent=2),
            "```",
            "",
            "## Recipe",
            "",
            "```json",
            json.dumps(recipe, indent=2),
            "```",
            "",
        ]
    )
