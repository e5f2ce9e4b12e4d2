"""Repositories of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from dsmooth.errors import BadModel, require
from dsmooth.services.hub import downloaded

__all__ = ["fetched", "push_folder"]

_WEIGHTS = "model.safetensors"


def fetched(spec: str) -> Path:
    """The weights of a repository hf:owner/name[@revision], from the Hub's cache where they are there."""
    path = downloaded(spec, [_WEIGHTS]) / _WEIGHTS
    if not path.is_file():
        raise BadModel(f"{spec}: expected a repository with {_WEIGHTS}, found none")
    return path


def push_folder(folder: Path | str, repository: str, *, private: bool) -> str:
    """The address of the folder's copy on the Hub; the token is the one of `hf auth login` or HF_TOKEN."""
    hub = require("huggingface_hub", "hub")
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        return str(hub.upload_folder(repo_id=repository, folder_path=str(folder)).repo_url)
    except Exception as error:  # the client raises many kinds, none of which is this program's fault
        raise BadModel(f"{repository} cannot be written on the Hub ({type(error).__name__})") from error
