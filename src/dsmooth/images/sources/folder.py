"""Image files in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from dsmooth.errors import BadImage
from dsmooth.images.decoding import read_image
from dsmooth.images.labels import image_names, labelled, passed_over
from dsmooth.images.sets import ImageSet, LabelledImage, Stamp, image_set
from dsmooth.images.sources.base import Reading

__all__ = ["Folder", "files_below", "files_of", "stamp_of"]


class Folder:
    """All image files below a folder, in order of name."""

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        return path.is_dir()

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        names = files_below(path)
        chosen, classes = labelled(path, image_names(names), reading)
        return replace(files_of(path, chosen, classes, reading), passed_over=passed_over(names, reading))


def files_below(folder: Path) -> list[str]:
    """The files below a folder, by their paths within it, in order; links to folders are not followed."""
    return sorted(_below(folder))


def files_of(folder: Path, names: Sequence[str], classes: Sequence[int | None], reading: Reading) -> ImageSet:
    """The image files of these names in a folder, which are of these classes."""
    sizes = [stamp_of(folder / name)[0] for name in names]

    def read(i: int) -> LabelledImage:
        image = read_image(folder / names[i], name=names[i], channels=reading.channels, size=reading.size)
        return LabelledImage(names[i], image.pixels, classes[i], image.decoding)

    return image_set(
        names, classes, [reading.channels, reading.size, sizes], read, lambda i: stamp_of(folder / names[i])
    )


def stamp_of(path: Path) -> Stamp:
    """Bytes, time of the last change, and number of a file; raises BadImage where there is none."""
    try:
        held = path.stat()
    except OSError as error:
        raise BadImage(f"{path}: expected an image file, cannot read it ({error.strerror})") from error
    return held.st_size, held.st_mtime_ns, held.st_ino


def _below(folder: Path) -> Iterator[str]:
    waiting = [""]
    while waiting:
        within = waiting.pop()
        with os.scandir(folder / within) as entries:
            for entry in entries:
                name = f"{within}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif entry.is_file():
                    yield name
