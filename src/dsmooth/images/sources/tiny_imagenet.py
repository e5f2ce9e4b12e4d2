"""Tiny ImageNet as it is distributed: wnids.txt, train/WNID/images, and val/images with val_annotations.txt."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from dsmooth.errors import BadImage
from dsmooth.images.labels import image_names, numbered
from dsmooth.images.sets import ImageSet
from dsmooth.images.sources.base import Reading
from dsmooth.images.sources.folder import Folder, files_below, files_of
from dsmooth.records.files import TEXT, read_bounded

__all__ = ["TinyImageNet"]

_CLASSES: Final = "wnids.txt"
_ANNOTATIONS: Final = "val/val_annotations.txt"


class TinyImageNet:
    """Its validation images, or those for training; classes are numbered in the order of their WordNet ids.

    That is the order in which folders are, and so that of most networks that were trained on it.
    """

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        return (path / _CLASSES).is_file() and (path / _ANNOTATIONS).is_file()

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        if reading.labels is not None:
            return Folder.open(path, reading)
        numbers = numbered(path, sorted(set(_lines(path / _CLASSES))), reading)
        part = "train" if reading.training else "val"
        names = [f"{part}/{name}" for name in image_names(files_below(path / part))]
        if reading.training:
            words = [name.split("/")[1] for name in names]
        else:
            told = dict(line.split("\t")[:2] for line in _lines(path / _ANNOTATIONS) if "\t" in line)
            words = [told.get(name.rpartition("/")[2], "") for name in names]
        if lost := next((name for name, word in zip(names, words, strict=True) if word not in numbers), None):
            raise BadImage(f"{path}: expected a class of {_CLASSES} for each image, found none for {lost!r}")
        return files_of(path, names, [numbers[word] for word in words], reading)


def _lines(file: Path) -> list[str]:
    try:
        return read_bounded(file, TEXT).decode().splitlines()
    except (OSError, ValueError) as error:
        raise BadImage(f"{file}: expected a list of Tiny ImageNet, cannot read it ({error})") from error
