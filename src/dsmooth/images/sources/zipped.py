"""Image files in a zip."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from dsmooth.errors import BadImage
from dsmooth.images.decoding import check_bytes, read_image
from dsmooth.images.labels import image_names, labelled, passed_over
from dsmooth.images.sets import ImageSet, LabelledImage, Stamp, image_set
from dsmooth.images.sources.base import Reading
from dsmooth.images.sources.folder import stamp_of

__all__ = ["Zipped"]


class Zipped:
    """A .zip: like a folder, read without unpacking it."""

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        return path.suffix == ".zip" and not path.is_dir()

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise BadImage(f"{path}: expected a zip file of images, got a broken one ({error})") from error
        files = [entry for entry in archive.infolist() if not entry.is_dir()]
        entries = {entry.filename: entry for entry in files}
        if len(entries) != len(files):
            raise BadImage(f"{path}: expected each file of the zip once, got one name twice")
        held = sorted(entries)
        names, classes = labelled(path, image_names(held), reading, inside=frozenset(entries))

        def read(i: int) -> LabelledImage:
            entry = entries[names[i]]
            check_bytes(entry.file_size, name=names[i])
            try:
                data = archive.read(entry)
            except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
                raise BadImage(f"{path}: {names[i]} cannot be unpacked ({error})") from error
            image = read_image(io.BytesIO(data), name=names[i], channels=reading.channels, size=reading.size)
            return LabelledImage(names[i], image.pixels, classes[i], image.decoding)

        def stamp(i: int) -> Stamp:
            return (entries[names[i]].file_size, *stamp_of(path))

        checksums = [entries[name].CRC for name in names]
        images = image_set(names, classes, [reading.channels, reading.size, checksums], read, stamp)
        return replace(images, passed_over=passed_over(held, reading))
