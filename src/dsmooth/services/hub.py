"""Files of repositories on the Hugging Face Hub, through its cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dsmooth.errors import BadModel, require

__all__ = ["HUB", "downloaded", "is_repository"]

HUB: Final = "hf:"
"""What the name of a repository begins with: hf:owner/name, or hf:owner/name@revision."""

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_repository(name: str) -> bool:
    """Whether this is written as the Hub's names are: owner/name."""
    return _REPOSITORY.fullmatch(name) is not None


def downloaded(spec: str, patterns: Sequence[str]) -> Path:
    """The folder in the cache that holds those files of owner/name[@revision] that match; some may be missing.

    The Hub is asked once for what is new: where it cannot be reached, the cache answers at once. Raises BadModel where
    neither has the repository.
    """
    hub = require("huggingface_hub", "hub")
    name, _, revision = spec.removeprefix(HUB).partition("@")
    if not is_repository(name):
        raise BadModel(f"expected {HUB}owner/name or {HUB}owner/name@revision, got {spec!r}")
    try:
        return Path(hub.snapshot_download(name, revision=revision or None, allow_patterns=list(patterns)))
    except Exception as error:  # the client raises many kinds, none of which is this program's fault
        raise BadModel(
            f"{HUB}{spec.removeprefix(HUB)} cannot be fetched from the Hub, and is not in its cache ({type(error).__name__})"
        ) from error
