"""Image files in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from dsmooth.images.decoding import read_image
from dsmooth.images.labels import image_names, labelled, passed_over
from dsmooth.images.sets import ImageSet, LabelledImage, image_set
from dsmooth.images.sources.base import Reading

__all__ = ["Folder", "files_of"]


class Folder:
    """All image files below a folder, in order of name."""

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        return path.is_dir()

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        names = sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
        return replace(files_of(path, image_names(names), reading), passed_over=passed_over(names, reading))


def files_of(folder: Path, names: Sequence[str], reading: Reading) -> ImageSet:
    """The image files of these names in a folder, or those that the CSV of labels chooses instead."""
    names, classes = labelled(folder, names, reading)
    sizes = [(folder / name).stat().st_size for name in names]

    def read(i: int) -> LabelledImage:
        image = read_image(folder / names[i], name=names[i], channels=reading.channels, size=reading.size)
        return LabelledImage(names[i], image.pixels, classes[i], image.decoding)

    return image_set(names, classes, [reading.channels, reading.size, sizes], read)
