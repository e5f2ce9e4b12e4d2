"""Any supported path as images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dsmooth.errors import BadImage, BadParameter
from dsmooth.images.sets import ImageSet
from dsmooth.images.sources.base import ImageSource, Reading
from dsmooth.registry import Registry

__all__ = ["SOURCES", "holds_arrays", "open_images"]

SOURCES: Final = Registry(
    "image source",
    {
        "cifar": "dsmooth.images.sources.cifar:Cifar",
        "npz": "dsmooth.images.sources.npz:Npz",
        "zip": "dsmooth.images.sources.zipped:Zipped",
        "parquet": "dsmooth.images.sources.parquet:Parquet",
        "webdataset": "dsmooth.images.sources.webdataset:WebDataset",
        "tiny-imagenet": "dsmooth.images.sources.tiny_imagenet:TinyImageNet",
        "imagenet": "dsmooth.images.sources.imagenet:ImageNetVal",
        "imagefolder": "dsmooth.images.sources.imagefolder:ImageFolder",
        "folder": "dsmooth.images.sources.folder:Folder",
        "file": "dsmooth.images.sources.single:Single",
    },
)
"""The first that recognises a path opens it: the most particular come first."""


def holds_arrays(path: Path) -> bool:
    """Whether the images at `path` are pixels already (.npz, CIFAR-10 binary), with labels of their own."""
    try:
        source = _source_of(path)
    except OSError:  # a name that is too long, say: whoever opens it will hear why
        return False
    return source is not None and source.holds_arrays


def open_images(
    path: Path | str,
    *,
    labels: Path | str | None = None,
    channels: int = 3,
    size: int | None = None,
    class_names: Sequence[str] | None = None,
    training: bool = False,
    by_order: bool = True,
) -> ImageSet:
    """The images at `path`, in a fixed order.

    A folder or .zip of image files (class subfolders become labels 0, 1, ... in order of name; subfolders named by
    numbers keep their number), a single image file, a CIFAR-10 binary folder (its test images; with `training` those of its
    five training batches) or .bin file, an .npz with `images` (N, H, W, C) and optionally `labels`, `indices`; a Hugging
    Face data set as Parquet files or as an `imagefolder` (metadata.csv, folders for splits), a tar or a folder of tars
    (WebDataset), Tiny ImageNet, or ImageNet's validation folder beside its devkit or class index. `labels` is a CSV with
    the columns file and label (or class_index): it chooses the files and their order, relative to the folder or within the
    zip or tar. With `class_names`, class subfolders must be named by class or by number, or be as many as there are
    classes, and labels must be valid classes. Without `by_order`, the order of subfolders does not define labels: images
    are unlabelled unless all subfolders are named by class or class number.
    """
    reading = Reading(None if labels is None else Path(labels), channels, size, class_names, training, by_order)
    try:
        images = _open(Path(path), reading)
    except OSError as error:
        raise BadImage(f"{str(path)[:200]}: cannot be read ({error.strerror})") from error
    if not images:
        raise BadImage(f"{path}: expected at least one image, found none")
    if class_names is not None:
        for key, label in zip(images.names, images.labels, strict=True):
            if label is not None and not 0 <= label < len(class_names):
                raise BadImage(f"{key}: expected a label from 0 to {len(class_names) - 1}, got {label}")
    return images


def _open(path: Path, reading: Reading) -> ImageSet:
    if not path.exists():
        raise BadImage(f"{path}: no such file or folder")
    source = _source_of(path)
    if source is not None and source.holds_arrays and (reading.labels is not None or reading.size is not None):
        raise BadParameter(f"{path} holds its own pixels and labels: labels and size do not apply to it")
    if source is None or not (path.is_dir() or path.is_file()):
        raise BadImage(f"{path}: expected a file or a folder, got a device or pipe")
    return source.open(path, reading)


def _source_of(path: Path) -> type[ImageSource] | None:
    sources: list[type[ImageSource]] = [SOURCES.load(name) for name in SOURCES]
    return next((source for source in sources if source.recognises(path)), None)
