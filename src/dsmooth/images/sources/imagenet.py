"""ImageNet's validation images: all in one folder beside the devkit, or in folders of WordNet ids beside a class index."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from dsmooth.errors import BadImage
from dsmooth.images.labels import image_names, numbered
from dsmooth.images.sets import ImageSet
from dsmooth.images.sources.base import Reading
from dsmooth.images.sources.folder import Folder, files_below, files_of
from dsmooth.records.files import TEXT, read_bounded
from dsmooth.records.reading import strict_json

__all__ = ["ImageNetVal"]

_INDEX: Final = "imagenet_class_index.json"
_DEVKIT: Final = "ILSVRC2012_devkit_t12"
_TRUTH: Final = "data/ILSVRC2012_validation_ground_truth.txt"
_META: Final = "data/meta.mat"
_MOST_META: Final = 1 << 20
_IMAGE: Final = re.compile(r"(?:.*/)?ILSVRC2012_val_(\d{8})\.JPEG")
_WORDNET: Final = re.compile(r"n\d{8}")
_CLASSES: Final = 1000


class ImageNetVal:
    """The validation folder (or the one that holds it as val), with imagenet_class_index.json or the devkit in or beside it.

    Classes are numbered as networks number them: in the order of the WordNet ids of the thousand classes.
    """

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        if not path.is_dir():
            return False
        folder = _folder(path)
        index, devkit = _beside(folder, _INDEX), _beside(folder, _DEVKIT)
        if index is None and devkit is None:
            return False
        held = [entry.name for entry in folder.iterdir()]
        return any(map(_WORDNET.fullmatch, held)) or (devkit is not None and any(map(_IMAGE.fullmatch, held)))

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        if reading.labels is not None:
            return Folder.open(path, reading)
        folder = _folder(path)
        index, devkit = _beside(folder, _INDEX), _beside(folder, _DEVKIT)
        names = image_names(files_below(folder))
        numbers: Mapping[str, int | None]
        if index is not None:
            numbers = _of_index(index)
            if not reading.by_order:
                numbers = numbered(path, sorted(numbers), reading)
        elif devkit is not None:
            numbers = numbered(path, sorted(_synsets(devkit).values()), reading)
        classes = [_class(name, numbers) for name in names]
        if devkit is not None and any(label is _UNTOLD for label in classes):
            classes = _by_number(names, classes, numbers, devkit)
        if lost := next((name for name, label in zip(names, classes, strict=True) if label is _UNTOLD), None):
            raise BadImage(f"{path}: expected a class for each image, found none for {lost!r}")
        return files_of(folder, names, classes, reading)


_UNTOLD: Any = object()


def _folder(path: Path) -> Path:
    return path / "val" if (path / "val").is_dir() else path


def _beside(folder: Path, name: str) -> Path | None:
    return next((place for place in (folder / name, folder.absolute().parent / name) if place.exists()), None)


def _class(name: str, numbers: Mapping[str, int | None]) -> Any:
    """The class of an image in a folder of a WordNet id."""
    return numbers.get(name.split("/")[0], _UNTOLD)


def _by_number(names: list[str], classes: list[Any], numbers: Mapping[str, int | None], devkit: Path) -> list[Any]:
    """The classes, those of images in no class's folder by their number in the devkit's list."""
    words = _synsets(devkit)
    truth = _read(devkit / _TRUTH, TEXT).decode(errors="replace").split()
    filled = []
    for name, label in zip(names, classes, strict=True):
        number = _IMAGE.fullmatch(name)
        at = int(number[1]) - 1 if number else -1
        if label is _UNTOLD and 0 <= at < len(truth) and truth[at].isdecimal():
            label = numbers.get(words.get(int(truth[at]), ""), _UNTOLD)
        filled.append(label)
    return filled


def _of_index(file: Path) -> dict[str, int]:
    """WordNet id -> number, of {"0": ["n01440764", "tench"], ...}."""
    try:
        index = {str(row[0]): int(number) for number, row in strict_json(_read(file, TEXT)).items()}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BadImage(f"{file}: expected a class index, cannot read it ({type(error).__name__})") from error
    if sorted(index.values()) != list(range(_CLASSES)):
        raise BadImage(f"{file}: expected an index of {_CLASSES} classes from 0 on, got another")
    return index


def _synsets(devkit: Path) -> dict[int, str]:
    """The devkit's own number of each of the thousand classes -> WordNet id."""
    from scipy.io import loadmat

    content = _read(devkit / _META, _MOST_META)
    try:
        rows = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
        found = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
    except Exception as error:  # whatever a reader of MATLAB's format meets in a broken file
        raise BadImage(f"{devkit / _META}: expected the devkit's classes, cannot read them ({error!r:.100})") from error
    found = {number: word for number, word in found.items() if 1 <= number <= _CLASSES}
    if len(found) != _CLASSES or not all(map(_WORDNET.fullmatch, found.values())):
        raise BadImage(f"{devkit / _META}: expected {_CLASSES} classes with their WordNet ids, got {len(found)}")
    return found


def _read(file: Path, most: int) -> bytes:
    try:
        return read_bounded(file, most)
    except OSError as error:
        raise BadImage(f"{file}: expected a file of the devkit, cannot read it ({error.strerror})") from error
