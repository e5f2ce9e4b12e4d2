"""Data sets of Hugging Face as image files: a folder for each split, and classes in metadata.csv or metadata.jsonl."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

from dsmooth.errors import BadImage
from dsmooth.images.labels import image_names, labelled, numbered, passed_over
from dsmooth.images.sets import ImageSet
from dsmooth.images.sources.base import Reading
from dsmooth.images.sources.folder import Folder, files_below, files_of
from dsmooth.images.sources.splits import SPLITS, chosen_split
from dsmooth.records.files import read_bounded
from dsmooth.records.reading import strict_json

__all__ = ["ImageFolder"]

_METADATA: Final = ("metadata.csv", "metadata.jsonl")
_LABELS: Final = ("label", "class_index")
_MOST_BYTES: Final = 256 << 20


class ImageFolder:
    """A folder whose sub-folders are splits (of several, one is read), or with metadata beside the images.

    The metadata's column file_name chooses no files, it says their labels: numbers, or names in place of sub-folders.
    """

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        return path.is_dir() and (_metadata(path) is not None or bool(_splits(path)))

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        if reading.labels is not None:
            return Folder.open(path, reading)
        split = chosen_split(_splits(path), training=reading.training)
        within = "" if split is None else f"{split}/"
        held = [f"{within}{name}" for name in files_below(path / within)]
        names = image_names(held)
        told = _told(path, "") | _told(path, within)
        if told:
            lost = next((name for name in names if name not in told), None)
            if lost is not None:
                raise BadImage(f"{path}: expected a label in the metadata for each image, found none for {lost!r}")
            numbers = numbered(path, sorted({told[name] for name in names}), reading)
            classes = [numbers[told[name]] for name in names]
        else:
            _, classes = labelled(path, [name.removeprefix(within) for name in names], reading)
        others = [name for name in held if name.rpartition("/")[2] not in _METADATA]
        return replace(files_of(path, names, classes, reading), passed_over=passed_over(others, reading))


def _splits(path: Path) -> list[str]:
    """The names of its sub-folders, where all of them are splits."""
    folders = [entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__"))]
    return folders if all(name in SPLITS for name in folders) else []


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in _METADATA if (folder / name).is_file()), None)


def _told(path: Path, within: str) -> dict[str, str]:
    """The labels that the metadata in a folder say, by file; none where they say no labels."""
    file = _metadata(path / within)
    if file is None:
        return {}
    found: dict[str, str] = {}
    for number, row in enumerate(_rows(file), start=1):
        column = next((name for name in _LABELS if name in row), None)
        name, label = row.get("file_name"), None if column is None else row[column]
        if not isinstance(name, str):
            raise BadImage(f"{file}, row {number}: expected a file_name, got none")
        if column is None:
            return {}
        if isinstance(label, bool) or not isinstance(label, str | int) or str(label) == "":
            raise BadImage(f"{file}, row {number}: expected a number or name in {column}, got {label!r:.80}")
        found[f"{within}{name}"] = str(label)
    return found


def _rows(file: Path) -> Iterable[Mapping[str, Any]]:
    try:
        text = read_bounded(file, _MOST_BYTES).decode("utf-8-sig")
        if file.suffix == ".csv":
            return list(csv.DictReader(io.StringIO(text, newline="")))
        return [dict(strict_json(line)) for line in text.splitlines() if line.strip()]
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise BadImage(f"{file}: expected the metadata of images, cannot read them ({error})") from error
