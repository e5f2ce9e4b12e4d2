"""Folders, zip files, data sets and single files as images on the pixel grid, with names and labels.

Whatever happens here (decoding, colour conversion, EXIF turn, resizing, cropping) happens before the noise, so it decides
which image a certificate is about; each image carries the list of what was done to it.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from dsmooth.errors import BadImage, BadParameter
from dsmooth.records.digests import digest_json

__all__ = ["ImageSet", "LabelledImage", "Pixels", "as_array", "centred", "check_pixels", "open_images", "read_image"]

Pixels = npt.NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 25_000_000
_MOST_ARRAYS = 1 << 30  # bytes
_CIFAR_SIDE, _CIFAR_RECORD = 32, 3073
_CIFAR_TRAINING = [f"data_batch_{i}.bin" for i in range(1, 6)]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image: its name within the set, (H, W, C) bytes, the class index or None, and how it was decoded."""

    key: str
    pixels: Pixels
    label: int | None = None
    decoding: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageSet(Sequence[LabelledImage]):
    """Images in a fixed order, read one at a time.

    `fingerprint` changes with names, labels and sizes on disk, without reading the pixels. A run does not rely on it: it
    reads every image before it starts, and names the pixels.
    """

    keys: tuple[str, ...]
    labels: tuple[int | None, ...]
    fingerprint: str
    _read: Callable[[int], LabelledImage]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        return self._read(range(len(self))[index])

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self._read(i) for i in range(len(self)))

    def find(self, key: str) -> LabelledImage | None:
        """The image of that name."""
        return self._read(self.keys.index(key)) if key in self.keys else None

    def without_labels(self) -> ImageSet:
        """The same images, of unknown classes."""
        return ImageSet(
            keys=self.keys,
            labels=(None,) * len(self),
            fingerprint=digest_json([self.fingerprint, "unlabelled"]),
            _read=lambda i: replace(self._read(i), label=None),
        )

    def subset(self, positions: Sequence[int]) -> ImageSet:
        """The images at these positions, in this order."""
        chosen = tuple(positions)
        if chosen == tuple(range(len(self))):
            return self
        return ImageSet(
            keys=tuple(self.keys[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
            fingerprint=digest_json([self.fingerprint, list(chosen)]),
            _read=lambda i: self._read(chosen[i]),
        )


def as_array(image: npt.ArrayLike, *, name: str = "image") -> npt.NDArray[Any]:
    """The image as a NumPy array, whatever its type and shape; raises BadImage where it is none."""
    try:
        return np.asarray(image)
    except (RuntimeError, TypeError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise BadImage(f"{name}: expected an array of pixels, got {type(image).__name__}: {line}") from error


def check_pixels(image: npt.ArrayLike, *, name: str = "image") -> Pixels:
    """The image as (H, W, C) bytes, C = 1 or 3.

    Accepts uint8, or floats that are exactly k/255: certificates are about images on the grid of 1/255, so other floats
    are refused, not rounded behind the caller's back. (H, W) becomes (H, W, 1).
    """
    array = as_array(image, name=name)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        hint = "; transpose (C, H, W) to (H, W, C)" if array.ndim == 3 and array.shape[0] in (1, 3) else ""
        raise BadImage(f"{name}: expected (height, width, 1 or 3 channels), got shape {array.shape}{hint}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise BadImage(f"{name}: expected uint8, or floats in [0, 1] on the grid of 1/255, got {array.dtype}")
    if not np.isfinite(array).all():
        raise BadImage(f"{name}: expected finite pixels, got NaN or infinity")
    low, high = float(array.min()), float(array.max())
    if low < 0.0 or high > 1.0:
        raise BadImage(
            f"{name}: expected pixels in [0, 1], got [{low:.4g}, {high:.4g}]; "
            "pass unnormalised images: normalisation belongs to the classifier"
        )
    grid = np.rint(array.astype(np.float64) * 255.0)
    nearest = (grid / 255.0).astype(array.dtype)
    if (np.abs(array - nearest) > np.spacing(nearest)).any():  # one last bit, for k * (1/255) in place of k / 255
        raise BadImage(
            f"{name}: expected pixels on the grid of 1/255, got values between its steps; "
            "pass the uint8 image, or quantise it first: (x * 255).round().astype('uint8')"
        )
    return np.ascontiguousarray(grid.astype(np.uint8))


def read_image(file: Path | io.BytesIO, *, name: str, channels: int = 3, size: int | None = None) -> LabelledImage:
    """An image file as bytes, upright, in 1 or 3 channels, and the list of what that took.

    With `size`, the shorter side is resized to size * 256/224 (Lanczos, antialiased) and the centre size x size is kept,
    unless the image is that size already. PNG, JPEG, WebP and BMP up to 25 megapixels; animated, 16-bit, truncated and
    broken files raise BadImage.
    """
    try:
        with Image.open(file, formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise BadImage(f"{name}: expected at most {MAX_PIXELS:,} pixels, got {opened.width} x {opened.height}")
            if getattr(opened, "n_frames", 1) > 1:
                raise BadImage(f"{name}: expected a still image, got {opened.n_frames} frames")  # type: ignore[attr-defined]
            if opened.mode.startswith(("I", "F")) or any(";16" in str(tile[3]) for tile in opened.tile):
                raise BadImage(f"{name}: expected 8 bits a channel, got 16 or more (mode {opened.mode})")
            opened.load()
            image, steps = _upright(opened, channels)
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"{name}: expected at most {MAX_PIXELS:,} pixels, got many more") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadImage(
            f"{name}: expected a readable {', '.join(FORMATS)} file, got another, broken or truncated one "
            f"({type(error).__name__})"
        ) from error
    if size is not None and image.size != (size, size):
        try:
            image, more = centred(image, size)
        except BadImage as error:
            raise BadImage(f"{name}: {error}") from error
        steps += more
    pixels = np.asarray(image)
    return LabelledImage(name, check_pixels(pixels, name=name), None, tuple(steps))


def _upright(image: Image.Image, channels: int) -> tuple[Image.Image, list[str]]:
    steps: list[str] = []
    if image.getexif().get(0x0112, 1) != 1:
        image = ImageOps.exif_transpose(image)
        steps.append("turned as EXIF says")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        solid = Image.new("RGBA", image.size, "white")
        solid.alpha_composite(image.convert("RGBA"))
        image = solid
        steps.append("transparency on white")
    mode = "RGB" if channels == 3 else "L"
    if image.mode != mode:
        steps.append(f"{image.mode} to {mode}")
        image = image.convert(mode)
    return image.copy(), steps


def centred(image: Image.Image, size: int) -> tuple[Image.Image, list[str]]:
    """The centre size x size of an image whose shorter side was resized to size * 256/224, and what that took."""
    short = round(size * 256 / 224)
    scale = short / min(image.size)
    wide, high = (max(short, round(side * scale)) for side in image.size)
    if wide * high > MAX_PIXELS:
        raise BadImage(
            f"expected an image of a usual shape, got {image.width} x {image.height}: with its shorter side at {short} it "
            f"would have {wide * high:,} pixels"
        )
    left, top = (wide - size) // 2, (high - size) // 2
    cut = image.resize((wide, high), Image.Resampling.LANCZOS).crop((left, top, left + size, top + size))
    return cut, [f"shorter side to {short} (Lanczos)", f"centre {size} x {size}"]


def holds_arrays(path: Path) -> bool:
    """Whether the images at `path` are pixels already (.npz, CIFAR-10 binary), with labels of their own."""
    try:
        return bool(list(path.glob("*.bin"))) if path.is_dir() else path.suffix in (".npz", ".bin")
    except OSError:  # a name that is too long, say: whoever opens it will hear why
        return False


def open_images(
    path: Path | str,
    *,
    labels: Path | str | None = None,
    channels: int = 3,
    size: int | None = None,
    class_names: Sequence[str] | None = None,
    training: bool = False,
) -> ImageSet:
    """The images at `path`, in a fixed order.

    A folder or .zip of image files (class sub-folders become labels 0, 1, ... in order of name; sub-folders named by
    numbers keep their number), a single image file, a CIFAR-10 binary folder (its test images; with `training` those of its
    five training batches) or .bin file, or an .npz with `images` (N, H, W, C) and perhaps `labels`, `indices`. `labels` is
    a CSV with the columns file and label (or class_index): it chooses the files and their order, relative to the folder or
    within the zip. With `class_names`, class sub-folders must be named by class or by number, or be as many as there are
    classes, and labels must be classes.
    """
    try:
        images = _open(Path(path), labels, channels, size, class_names, training)
    except OSError as error:
        raise BadImage(f"{str(path)[:200]}: cannot be read ({error.strerror})") from error
    if not images:
        raise BadImage(f"{path}: expected at least one image, found none")
    if class_names is not None:
        for key, label in zip(images.keys, images.labels, strict=True):
            if label is not None and not 0 <= label < len(class_names):
                raise BadImage(f"{key}: expected a label from 0 to {len(class_names) - 1}, got {label}")
    return images


def _open(
    path: Path,
    labels: Path | str | None,
    channels: int,
    size: int | None,
    class_names: Sequence[str] | None,
    training: bool,
) -> ImageSet:
    if path.exists() and holds_arrays(path) and (labels is not None or size is not None):
        raise BadParameter(f"{path} holds pixels and labels of its own: labels and size do not apply to it")
    if not path.exists():
        raise BadImage(f"{path}: no such file or folder")
    if path.is_dir():
        if list(path.glob("*.bin")):
            return _cifar([path / name for name in (_CIFAR_TRAINING if training else ["test_batch.bin"])])
        return _files(path, _listing(path), labels, channels, size, class_names)
    if not path.is_file():
        raise BadImage(f"{path}: expected a file or a folder, got a device or pipe")
    if path.suffix == ".zip":
        return _zipped(path, labels, channels, size, class_names)
    if path.suffix == ".bin":
        return _cifar([path])
    if path.suffix == ".npz":
        return _arrays(path)
    return _files(path.parent, [path.name], labels, channels, size, None)


def _listing(folder: Path) -> list[str]:
    found = (
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()
    )
    return sorted(found)


def _files(
    folder: Path,
    names: list[str],
    labels: Path | str | None,
    channels: int,
    size: int | None,
    class_names: Sequence[str] | None,
) -> ImageSet:
    names, classes = _labelled(folder, names, labels, class_names)
    sizes = [(folder / name).stat().st_size for name in names]

    def read(i: int) -> LabelledImage:
        image = read_image(folder / names[i], name=names[i], channels=channels, size=size)
        return LabelledImage(names[i], image.pixels, classes[i], image.decoding)

    return _set(names, classes, [channels, size, sizes], read)


def _zipped(
    path: Path, labels: Path | str | None, channels: int, size: int | None, class_names: Sequence[str] | None
) -> ImageSet:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise BadImage(f"{path}: expected a zip file of images, got a broken one ({error})") from error
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    entries = {entry.filename: entry for entry in files}
    if len(entries) != len(files):
        raise BadImage(f"{path}: expected each file of the zip once, got one name twice")
    names = sorted(name for name in entries if PurePosixPath(name).suffix.lower() in SUFFIXES)
    names, classes = _labelled(path, names, labels, class_names, inside=frozenset(entries))

    def read(i: int) -> LabelledImage:
        entry = entries[names[i]]
        if entry.file_size > 4 * MAX_PIXELS:
            raise BadImage(
                f"{names[i]}: expected an image file of at most {4 * MAX_PIXELS:,} bytes, got {entry.file_size:,}"
            )
        try:
            data = archive.read(entry)
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise BadImage(f"{path}: {names[i]} cannot be unpacked ({error})") from error
        image = read_image(io.BytesIO(data), name=names[i], channels=channels, size=size)
        return LabelledImage(names[i], image.pixels, classes[i], image.decoding)

    return _set(names, classes, [channels, size, [entries[name].CRC for name in names]], read)


def _labelled(
    base: Path,
    names: list[str],
    labels: Path | str | None,
    class_names: Sequence[str] | None,
    inside: frozenset[str] | None = None,
) -> tuple[list[str], list[int | None]]:
    if labels is not None:
        return _manifest(base, Path(labels), inside)
    if not names:
        raise BadImage(f"{base}: expected images ({', '.join(SUFFIXES)}), found none")
    folders = [name.split("/")[0] if "/" in name else None for name in names]
    numbers = _numbered(base, sorted({folder for folder in folders if folder is not None}), class_names)
    return names, [None if folder is None else numbers[folder] for folder in folders]


def _numbered(base: Path, folders: list[str], class_names: Sequence[str] | None) -> dict[str, int]:
    """Class indices of sub-folders: by number, by class name, or by order of name where there is one for each class."""
    if all(name.isdecimal() and len(name) < 10 for name in folders):
        return {name: int(name) for name in folders}
    if class_names is not None and set(folders) <= set(class_names):
        return {name: list(class_names).index(name) for name in folders}
    if class_names is not None and len(folders) != len(class_names):
        raise BadImage(
            f"{base}: expected sub-folders named by class or class number, or one for each of the {len(class_names)} "
            f"classes, got {', '.join(folders[:3])}{' ...' if len(folders) > 3 else ''}; rename them, or pass --labels"
        )
    return {name: i for i, name in enumerate(folders)}


def _manifest(base: Path, manifest: Path, inside: frozenset[str] | None) -> tuple[list[str], list[int | None]]:
    if not manifest.is_file():
        raise BadImage(f"{manifest}: expected a CSV file of labels, cannot read it (no such file)")
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadImage(f"{manifest}: expected a CSV file of labels, cannot read it ({error})") from error
    column = next((name for name in ("label", "class_index") if rows and name in rows[0]), None)
    if column is None or "file" not in rows[0]:
        raise BadImage(f"{manifest}: expected a CSV with the columns file and label (or class_index)")
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


def _cifar(paths: Sequence[Path]) -> ImageSet:
    records = np.concatenate([_records(path) for path in paths])
    planes = (3, _CIFAR_SIDE, _CIFAR_SIDE)

    def read(i: int) -> LabelledImage:
        pixels = np.ascontiguousarray(records[i, 1:].reshape(planes).transpose(1, 2, 0))
        return LabelledImage(str(i), pixels, int(records[i, 0]))

    classes: list[int | None] = [int(label) for label in records[:, 0]]
    return _set([str(i) for i in range(len(records))], classes, [*(path.name for path in paths), records.nbytes], read)


def _records(path: Path) -> Pixels:
    """A CIFAR-10 file as rows: the label, then the pixels, plane by plane."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadImage(f"{path}: expected the CIFAR-10 binary version, cannot read it ({error.strerror})") from error
    if size == 0 or size % _CIFAR_RECORD:
        raise BadImage(f"{path}: expected CIFAR-10 records of {_CIFAR_RECORD} bytes, got a file of {size} bytes")
    records = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, _CIFAR_RECORD)
    if (highest := int(records[:, 0].max())) > 9:
        raise BadImage(f"{path}: expected CIFAR-10 labels from 0 to 9, got {highest}")
    return records


def _arrays(path: Path) -> ImageSet:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_ARRAYS:
            raise BadImage(
                f"{path}: expected arrays of at most {_MOST_ARRAYS:,} bytes, got {size:,}: use a folder or zip"
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("images", "labels", "indices") if key in file.files}
    except BadImage:
        raise
    except (EOFError, MemoryError, OSError, SyntaxError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise BadImage(f"{path}: expected an .npz with `images`, cannot read it ({type(error).__name__})") from error
    images = arrays.get("images")
    if (
        images is None
        or images.ndim != 4
        or images.dtype != np.uint8
        or images.shape[3] not in (1, 3)
        or not images.size
    ):
        got = "no `images`" if images is None else f"{images.dtype} {images.shape}"
        raise BadImage(f"{path}: expected `images` as uint8 (N, H, W, 1 or 3), got {got}")
    labels, indices = arrays.get("labels"), arrays.get("indices")
    for name, extra in (("labels", labels), ("indices", indices)):
        if extra is not None and (extra.shape != (len(images),) or extra.dtype.kind not in "iu"):
            raise BadImage(f"{path}: expected {name} as {len(images)} whole numbers, got {extra.dtype} {extra.shape}")
        if extra is not None and extra.min() < 0:
            raise BadImage(f"{path}: expected {name} of at least 0, got {extra.min()}")
    keys = [str(i) for i in (range(len(images)) if indices is None else indices.tolist())]
    classes: list[int | None] = [None] * len(images) if labels is None else labels.tolist()
    return _set(
        keys, classes, list(images.shape), lambda i: LabelledImage(keys[i], np.ascontiguousarray(images[i]), classes[i])
    )


def _set(
    keys: list[str], labels: list[int | None], details: list[Any], read: Callable[[int], LabelledImage]
) -> ImageSet:
    for key in keys:
        try:
            key.encode()
        except UnicodeEncodeError:
            raise BadImage(f"expected file names in UTF-8, got {key!r}: rename the file") from None
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadParameter(f"expected each image once, got {twice!r} twice")
    return ImageSet(tuple(keys), tuple(labels), digest_json([keys, labels, details]), read)
