"""One image file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from dsmooth.images.labels import labelled
from dsmooth.images.sets import ImageSet
from dsmooth.images.sources.base import Reading
from dsmooth.images.sources.folder import files_of

__all__ = ["Single"]


class Single:
    """A file of any name, taken for an image; its class only a CSV can say."""

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        return path.is_file()

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        reading = replace(reading, class_names=None)
        return files_of(path.parent, *labelled(path.parent, [path.name], reading), reading)
