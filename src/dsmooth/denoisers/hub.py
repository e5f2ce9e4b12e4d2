"""Repositories of the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from dsmooth.errors import BadModel, require

__all__ = ["HUB", "fetched", "is_repository", "push_folder"]

HUB: Final = "hf:"
"""What the name of a repository begins with: hf:owner/name, or hf:owner/name@revision."""

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_repository(name: str) -> bool:
    """Whether this is written as the Hub's names are: owner/name."""
    return _REPOSITORY.fullmatch(name) is not None


def fetched(spec: str) -> Path:
    """The weights of a repository "hf:owner/name", from the Hub's cache where they are there."""
    hub = require("huggingface_hub", "hub")
    name, _, revision = spec.removeprefix(HUB).partition("@")
    try:
        return Path(hub.hf_hub_download(name, "model.safetensors", revision=revision or None))
    except Exception as error:  # the client raises many kinds, none of which is this program's fault
        raise BadModel(f"{spec} cannot be fetched from the Hub ({type(error).__name__})") from error


def push_folder(folder: Path | str, repository: str, *, private: bool) -> str:
    """The address of the folder's copy on the Hub; the token is the one of `hf auth login` or HF_TOKEN."""
    hub = require("huggingface_hub", "hub")
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        return str(hub.upload_folder(repo_id=repository, folder_path=str(folder)).repo_url)
    except Exception as error:  # the client raises many kinds, none of which is this program's fault
        raise BadModel(f"{repository} cannot be written on the Hub ({type(error).__name__})") from error
