"""Which files are images, and their classes: from a CSV file, or from the sub-folders in which they lie."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from dsmooth.errors import BadImage
from dsmooth.images.decoding import SUFFIXES
from dsmooth.images.sources.base import Reading
from dsmooth.records.files import read_bounded

__all__ = ["class_folders", "image_names", "labelled", "numbered", "passed_over"]

_MOST_BYTES: Final = 256 << 20


def labelled(
    base: Path, names: Sequence[str], reading: Reading, inside: frozenset[str] | None = None
) -> tuple[list[str], list[int | None]]:
    """Which image files of a folder or zip are read, in which order, and their classes.

    All of `names`, with the classes of their sub-folders; or those in the CSV of labels, which must be files in the folder
    `base`, or in the set `inside` of what a zip holds.
    """
    if reading.labels is not None:
        return _manifest(base, reading.labels, inside)
    if not names:
        raise BadImage(f"{base}: expected images ({', '.join(SUFFIXES)}), found none")
    folders = [_folder_of(name) for name in names]
    numbers = numbered(base, sorted({folder for folder in folders if folder is not None}), reading)
    return list(names), [None if folder is None else numbers[folder] for folder in folders]


def class_folders(names: Sequence[str], labels: Sequence[int | None]) -> list[str]:
    """The sub-folders whose order of name gave these images their classes; none where the classes come from elsewhere."""
    folders = [_folder_of(name) for name in names]
    ordered = sorted({folder for folder in folders if folder is not None})
    numbers = {folder: i for i, folder in enumerate(ordered)}
    given = [None if folder is None else numbers[folder] for folder in folders]
    return ordered if given == list(labels) else []


def _folder_of(name: str) -> str | None:
    return name.split("/")[0] if "/" in name else None


def image_names(names: Sequence[str]) -> list[str]:
    """Those of these files that are images by their suffix."""
    return [name for name in names if _suffix(name) in SUFFIXES]


def passed_over(names: Sequence[str], reading: Reading) -> tuple[str, ...]:
    """Those of these files that are not read as images; none where a CSV chooses, and none that are hidden."""
    if reading.labels is not None:
        return ()
    others = (name for name in names if _suffix(name) not in SUFFIXES)
    return tuple(name for name in others if not any(part.startswith((".", "__")) for part in PurePosixPath(name).parts))


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def numbered(base: Path, folders: list[str], reading: Reading) -> Mapping[str, int | None]:
    """Class indices of these sub-folders, or of classes with these names.

    By number, by class name, or by order of name where there is one for each class.
    """
    classes = reading.class_names
    numbers = {name: int(name) for name in folders if name.isdecimal() and len(name) < 10}
    if len(numbers) == len(folders) and (reading.by_order or set(numbers.values()) <= set(range(len(classes or ())))):
        return numbers
    if classes is not None and set(folders) <= set(classes):
        return {name: list(classes).index(name) for name in folders}
    if not reading.by_order:
        return dict.fromkeys(folders)
    if classes is not None and len(folders) != len(classes):
        raise BadImage(
            f"{base}: expected subfolders named by class or class number, or one for each of the {len(classes)} "
            f"classes, got {', '.join(folders[:3])}{' ...' if len(folders) > 3 else ''}; rename them, or pass --labels"
        )
    return {name: i for i, name in enumerate(folders)}


def _manifest(base: Path, manifest: Path, inside: frozenset[str] | None) -> tuple[list[str], list[int | None]]:
    if not manifest.is_file():
        raise BadImage(f"{manifest}: expected a CSV file of labels, cannot read it (no such file)")
    try:
        text = read_bounded(manifest, _MOST_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows, columns = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadImage(f"{manifest}: expected a CSV file of labels, cannot read it ({error})") from error
    column = next((name for name in ("label", "class_index") if rows and name in columns), None)
    if column is None or "file" not in columns:
        raise BadImage(f"{manifest}: expected a CSV with the columns file and label (or class_index)")
    if twice := [name for name in ("file", column) if columns.count(name) > 1]:
        raise BadImage(f"{manifest}: expected each column once, got {twice[0]} twice")
    names: list[str] = []
    classes: list[int | None] = []
    for number, row in enumerate(rows, start=2):
        name, label = row["file"] or "", (row[column] or "").strip()
        if not label.isdecimal():
            raise BadImage(f"{manifest}, line {number}: expected a class number in {column}, got {label!r}")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BadImage(f"{manifest}, line {number}: expected a file within {base}, got {name!r}")
        if len(label) > 9:
            raise BadImage(f"{manifest}, line {number}: expected a class number, got one of {len(label)} digits")
        if not (name in inside if inside is not None else (base / name).is_file()):
            raise BadImage(f"{manifest}, line {number}: {name!r} is not in {base}")
        names.append(name)
        classes.append(int(label))
    return names, classes
