"""One image, and images in a fixed order."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadImage, BadParameter
from dsmooth.images.pixels import Pixels
from dsmooth.records.digests import digest_image, digest_json, digest_list
from dsmooth.records.repeats import mark

__all__ = ["ImageSet", "LabelledImage", "Stamp", "image_set", "replaced"]

Stamp = tuple[int, ...]
"""Of an image that is stored and not read: its bytes, then whatever changes when it is replaced."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image: its name within the set, (H, W, C) bytes, the class index or None, and how it was decoded."""

    name: str
    pixels: Pixels
    label: int | None = None
    decoding: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageSet(Sequence[LabelledImage]):
    """Images in a fixed order, read one at a time.

    `fingerprint` changes with names, labels and sizes on disk, without reading the pixels. A run does not rely on it: it
    names the pixels of every image, and of many images (runs/certify.py) their listing first.
    """

    names: tuple[str, ...]
    labels: tuple[int | None, ...]
    fingerprint: str
    _read: Callable[[int], LabelledImage]
    passed_over: tuple[str, ...] = ()
    """Files beside them that are not images."""
    _stamp: Callable[[int], Stamp] | None = None
    """What is known about the image at a position without reading it; None if all images are in memory."""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        return self._read(range(len(self))[index])

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self._read(i) for i in range(len(self)))

    @cached_property
    def _places(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
        """The marks of the names in rising order, and whose they are: a dict would take five times as much."""
        marks = np.fromiter(map(mark, self.names), np.uint64, len(self))
        order = np.argsort(marks, kind="stable")
        return marks[order], order

    def find(self, name: str) -> LabelledImage | None:
        """The image of that name."""
        marks, order = self._places
        first, last = (np.searchsorted(marks, np.uint64(mark(name)), side=side) for side in ("left", "right"))
        return next((self._read(int(i)) for i in order[first:last] if self.names[i] == name), None)

    def pinned(self, digests: Sequence[str]) -> ImageSet:
        """The same images; reading one whose pixels have another digest than it has here raises BadImage."""

        def read(i: int) -> LabelledImage:
            image = self._read(i)
            if digest_image(image.pixels) != digests[i] or image.label != self.labels[i]:
                raise replaced(image.name)
            return image

        return replace(self, _read=read)

    def fitting(self, check: Callable[[tuple[int, ...]], None]) -> ImageSet:
        """The same images; reading one whose shape (H, W, C) the check refuses raises its BadParameter, with the name."""

        def read(i: int) -> LabelledImage:
            image = self._read(i)
            try:
                check(image.pixels.shape)
            except BadParameter as error:
                raise BadParameter(f"{image.name}: {error}") from None
            return image

        return replace(self, _read=read)

    @property
    def stored(self) -> bool:
        """Whether reading an image takes long enough to leave it until it is needed: it is a file, or part of one."""
        return self._stamp is not None

    def listing(self) -> str | None:
        """Digest of all names, labels and sizes in bytes, in order; nothing is read. None where images lie in memory."""
        stamp = self._stamp
        if stamp is None:
            return None
        return digest_list([self.names[i], self.labels[i], stamp(i)[0]] for i in range(len(self)))

    def watched(self) -> ImageSet:
        """The same images, as they are stored now; reading one that was replaced since raises BadImage.

        What is stored is compared by size, times and number of its file: pixels are not known before they are read.
        """
        stamp = self._stamp
        if stamp is None:
            return self
        held = array("q", (hash(stamp(i)) for i in range(len(self))))

        def read(i: int) -> LabelledImage:
            image = self._read(i)
            if (
                hash(stamp(i)) != held[i] or image.label != self.labels[i]
            ):  # after reading: it may be replaced meanwhile
                raise replaced(image.name)
            return image

        return replace(self, _read=read)

    def readable(self) -> tuple[ImageSet, dict[str, str]]:
        """The images that can be read, and why the others cannot, by name; raises BadImage where none can."""
        good: list[int] = []
        bad: dict[str, str] = {}
        for i, name in enumerate(self.names):
            try:
                self._read(i)
                good.append(i)
            except BadImage as error:
                bad[name] = str(error)
        if not good:
            raise BadImage(f"none of the {len(self)} images can be read: {next(iter(bad.values()), '')}")
        return self.subset(good), bad

    def without_labels(self) -> ImageSet:
        """The same images, of unknown classes."""
        return ImageSet(
            names=self.names,
            labels=(None,) * len(self),
            fingerprint=digest_json([self.fingerprint, "unlabelled"]),
            _read=lambda i: replace(self._read(i), label=None),
            _stamp=self._stamp,
        )

    def named(self, names: Collection[str]) -> ImageSet:
        """The images of these names, in the order of the set."""
        wanted = frozenset(names)
        return self.subset([i for i, name in enumerate(self.names) if name in wanted])

    def subset(self, positions: Sequence[int]) -> ImageSet:
        """The images at these positions, in this order."""
        chosen = tuple(positions)
        if chosen == tuple(range(len(self))):
            return self
        stamp = self._stamp
        return ImageSet(
            names=tuple(self.names[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
            fingerprint=digest_json([self.fingerprint, list(chosen)]),
            _read=lambda i: self._read(chosen[i]),
            _stamp=None if stamp is None else lambda i: stamp(chosen[i]),
        )


def replaced(name: str) -> BadImage:
    """The error for an image that has changed."""
    return BadImage(f"{name}: the image changed during the run: restore the original")


def image_set(
    keys: Sequence[str],
    labels: Sequence[int | None],
    details: Sequence[Any],
    read: Callable[[int], LabelledImage],
    stamp: Callable[[int], Stamp] | None = None,
) -> ImageSet:
    """The set of these images, each of which `read` reads by its position; `details` enter the fingerprint.

    `stamp`: where images are stored and not in memory, what is known of the one at a position without reading it.
    Raises BadImage for names that are no UTF-8, BadParameter where one occurs twice.
    """
    for key in keys:
        try:
            key.encode()
        except UnicodeEncodeError:
            raise BadImage(f"expected file names in UTF-8, got {key!r}: rename the file") from None
    if len(set(keys)) != len(keys):
        ((twice, _),) = Counter(keys).most_common(1)
        raise BadParameter(f"expected each image once, got {twice!r} twice")
    fingerprint = digest_json([list(keys), list(labels), list(details)])
    return ImageSet(tuple(keys), tuple(labels), fingerprint, read, _stamp=stamp)
