"""The contract of places that images come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from dsmooth.images.sets import ImageSet

__all__ = ["ImageSource", "Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How images are read and labelled: the arguments of open_images."""

    labels: Path | None = None
    channels: int = 3
    size: int | None = None
    class_names: Sequence[str] | None = None
    training: bool = False
    by_order: bool = True


class ImageSource(Protocol):
    """One kind of place."""

    holds_arrays: ClassVar[bool]
    """Whether it holds pixels and labels of its own, so that labels and size do not apply to it."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` is such a place; may raise OSError."""
        ...

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        """Its images; raises BadImage where they cannot be read, may raise OSError."""
        ...
