"""Image files in a tar, or in a folder of tars: with their classes in files beside them (WebDataset), or by sub-folder."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from dsmooth.errors import BadImage
from dsmooth.images.decoding import SUFFIXES, check_bytes, read_image
from dsmooth.images.labels import image_names, labelled, passed_over
from dsmooth.images.sets import ImageSet, LabelledImage, Stamp, image_set
from dsmooth.images.sources.base import Reading
from dsmooth.images.sources.folder import stamp_of
from dsmooth.images.sources.splits import chosen_split, split_of
from dsmooth.images.sources.tar_index import Member, members_of, read_member

__all__ = ["WebDataset"]

_CLASS: Final = ".cls"
_MOST_DIGITS: Final = 9
_COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class WebDataset:
    """A .tar, or the .tar files of a folder in order of name (of several splits, one): read without unpacking them.

    The image KEY.jpg is of the class in KEY.cls, where there are such files; otherwise labels are as in a folder or zip.
    """

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        if path.is_dir():
            return next(path.glob("*.tar"), None) is not None
        return path.suffix == ".tar" or path.name.endswith(_COMPRESSED)

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        if path.name.endswith(_COMPRESSED) and not path.is_dir():
            raise BadImage(
                f"{path}: expected a tar that is not compressed, to read images from its middle: unpack it once"
            )
        tars = _shards(path, reading) if path.is_dir() else [path]
        held = [(tar, member) for tar in tars for member in members_of(tar)]
        called = [member.name if tars == [path] else f"{tar.name}/{member.name}" for tar, member in held]
        wanted = frozenset(image_names(called))
        found = {name: each for name, each in zip(called, held, strict=True) if name in wanted}
        names = [name for name in called if name in wanted]
        classes = None if reading.labels is not None else _classes(held)
        if classes is not None and names:
            labels = [classes.get((found[name][0], _key(found[name][1].name))) for name in names]
        elif reading.labels is not None or not names:
            names, labels = labelled(path, names, reading, inside=frozenset(called))
        else:
            _, labels = labelled(path, [found[name][1].name for name in names], reading)
        if lost := next((name for name in names if name not in found), None):
            raise BadImage(f"{path}: expected images ({', '.join(SUFFIXES)}), and {lost!r} is none by its name")

        def read(i: int) -> LabelledImage:
            tar, member = found[names[i]]
            check_bytes(member.size, name=names[i])
            content = io.BytesIO(read_member(tar, member))
            image = read_image(content, name=names[i], channels=reading.channels, size=reading.size)
            return LabelledImage(names[i], image.pixels, labels[i], image.decoding)

        def stamp(i: int) -> Stamp:
            tar, member = found[names[i]]
            return (member.size, *stamp_of(tar))

        sizes = [found[name][1].size for name in names]
        images = image_set(names, labels, [reading.channels, reading.size, sizes], read, stamp)
        others = [name for name in called if not name.endswith(_CLASS)]
        return replace(images, passed_over=passed_over(others, reading))


def _shards(folder: Path, reading: Reading) -> list[Path]:
    tars = sorted(folder.glob("*.tar"))
    split = chosen_split([part for tar in tars if (part := split_of(tar.name))], training=reading.training)
    return [tar for tar in tars if split is None or split_of(tar.name) == split]


def _key(name: str) -> str:
    """What the files of one sample have in common: the name up to the first dot behind the folders."""
    folder, slash, rest = name.rpartition("/")
    return f"{folder}{slash}{rest.partition('.')[0]}"


def _classes(held: list[tuple[Path, Member]]) -> dict[tuple[Path, str], int] | None:
    """The class of each sample that has one; None where no sample has."""
    found: dict[tuple[Path, str], int] = {}
    for tar, member in held:
        if not member.name.endswith(_CLASS):
            continue
        told = (member.short or b"").strip()
        if not told.isdigit() or len(told) > _MOST_DIGITS:
            raise BadImage(f"{tar}: expected a class number in {member.name[:200]!r}, got something else")
        found[tar, _key(member.name)] = int(told)
    return found or None
