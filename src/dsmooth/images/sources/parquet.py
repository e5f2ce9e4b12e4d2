"""Data sets of Hugging Face as Parquet files: a column of image files, and perhaps one of classes."""

from __future__ import annotations

import io
import json
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Final

from dsmooth.errors import BadImage, BadParameter, first_line, require
from dsmooth.images.decoding import check_bytes, read_image
from dsmooth.images.sets import ImageSet, LabelledImage, Stamp, image_set
from dsmooth.images.sources.base import Reading
from dsmooth.images.sources.folder import stamp_of
from dsmooth.images.sources.splits import chosen_split, split_of
from dsmooth.records.reading import strict_json

__all__ = ["Parquet"]

_IMAGES: Final = ("image", "img", "images")
_LABELS: Final = ("label", "labels", "fine_label", "cls")
"""Names of columns, where the file itself does not say which they are."""
_MOST_ROWS: Final = 20_000_000
_MOST_GROUP: Final = 2 << 30
"""Most bytes of a row group: one is in memory at a time."""
_THRIFT: Final = {"thrift_string_size_limit": 64 << 20, "thrift_container_size_limit": 1 << 20}
"""Of a file's description of itself, which is read before anything else."""


class Parquet:
    """A .parquet file, or those of a folder or its sub-folder data in order of name (of several splits, one).

    Images are named by file and row. Their bytes are in the file: a path to other files is not followed.
    """

    holds_arrays: ClassVar[bool] = False

    @staticmethod
    def recognises(path: Path) -> bool:
        return bool(_files(path)) if path.is_dir() else path.suffix == ".parquet"

    @staticmethod
    def open(path: Path, reading: Reading) -> ImageSet:
        if reading.labels is not None:
            raise BadParameter(f"{path} holds its own labels: --labels does not apply to it")
        files = _files(path) if path.is_dir() else [path]
        split = chosen_split([part for file in files if (part := split_of(file.name))], training=reading.training)
        tables = [_Table.of(file) for file in files if split is None or split_of(file.name) == split]
        ends = list(accumulate(table.rows for table in tables))
        if not ends or ends[-1] > _MOST_ROWS:
            raise BadImage(f"{path}: expected from 1 to {_MOST_ROWS:,} images, got {ends[-1] if ends else 0:,}")
        names = [f"{table.file.name}/{row}" for table in tables for row in range(table.rows)]
        labels = [label for table in tables for label in table.labels()]

        @lru_cache(maxsize=1)
        def group(number: int, part: int) -> list[bytes | None]:
            return tables[number].images(part)

        def place(i: int) -> tuple[int, int, int]:
            """The file, its row group, and the row in it."""
            number = bisect_right(ends, i)
            table, row = tables[number], i - (ends[number - 1] if number else 0)
            part = bisect_right(table.ends, row)
            return number, part, row - (table.ends[part - 1] if part else 0)

        def read(i: int) -> LabelledImage:
            number, part, row = place(i)
            content = group(number, part)[row]
            if content is None:
                raise BadImage(
                    f"{names[i]}: expected the bytes of an image in the file, got none: paths are not followed"
                )
            check_bytes(len(content), name=names[i])
            image = read_image(io.BytesIO(content), name=names[i], channels=reading.channels, size=reading.size)
            return LabelledImage(names[i], image.pixels, labels[i], image.decoding)

        def stamp(i: int) -> Stamp:
            """The bytes are those of its row group: what an image takes in it nothing says."""
            number, part, _ = place(i)
            return (tables[number].sizes[part], *stamp_of(tables[number].file))

        details = [reading.channels, reading.size, [[table.ends, table.sizes] for table in tables]]
        return image_set(names, labels, details, read, stamp)


@dataclass(frozen=True)
class _Table:
    """One file, as far as it describes itself."""

    file: Path
    image: str
    """The column of images."""
    label: str | None
    rows: int
    ends: list[int]
    """Rows up to the end of each row group."""
    sizes: list[int]
    """Bytes of the images of each row group, as they are stored."""

    @classmethod
    def of(cls, file: Path) -> _Table:
        def read(table: Any) -> _Table:
            told = table.metadata
            image, label = _columns(file, table.schema_arrow)
            groups = [told.row_group(i) for i in range(told.num_row_groups)]
            sizes = []
            for each in groups:
                if each.total_byte_size > _MOST_GROUP:
                    raise BadImage(f"{file}: expected row groups of at most {_MOST_GROUP:,} bytes, got more")
                parts = (each.column(i) for i in range(each.num_columns))
                sizes.append(sum(p.total_compressed_size for p in parts if p.path_in_schema.split(".")[0] == image))
            ends = list(accumulate(each.num_rows for each in groups))
            return cls(file, image, label, ends[-1] if ends else 0, ends, sizes)

        return _opened(file, read)

    def labels(self) -> list[int | None]:
        """The class of each row, None where it says none (or -1, as sets do whose classes are secret)."""
        name = self.label
        if name is None:
            return [None] * self.rows
        column = _opened(self.file, lambda table: table.read(columns=[name]).column(0).to_pylist())
        for label in column:
            if label is not None and (type(label) is not int or not -1 <= label < 10**9):
                raise BadImage(f"{self.file}: expected class numbers in column {name}, got {label!r:.80}")
        return [None if label == -1 else label for label in column]

    def images(self, part: int) -> list[bytes | None]:
        """The image files of a row group."""

        def read(table: Any) -> list[bytes | None]:
            column = table.read_row_group(part, columns=[self.image]).column(0)
            if require("pyarrow", "table").types.is_struct(column.type):
                column = column.combine_chunks().field("bytes")
            values: list[bytes | None] = column.to_pylist()
            return values

        return _opened(self.file, read)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))


def _opened(file: Path, read: Callable[[Any], Any]) -> Any:
    """What `read` makes of the open file; raises BadImage where it is none that can be read."""
    arrow, parquet = require("pyarrow", "table"), require("pyarrow.parquet", "table")
    try:
        with parquet.ParquetFile(file, **_THRIFT) as table:
            return read(table)
    except BadImage:
        raise
    except (arrow.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError, MemoryError) as error:
        line = first_line(error)
        raise BadImage(f"{file}: expected a Parquet file of images, cannot read it ({line[:200]})") from error


def _columns(file: Path, schema: Any) -> tuple[str, str | None]:
    """The names of the columns of images and of classes: as the file says, or the usual ones."""
    kinds = _features(schema.metadata or {})
    images = [name for name in schema.names if kinds.get(name) == "Image" or (not kinds and name in _IMAGES)]
    labels = [name for name in schema.names if kinds.get(name) == "ClassLabel" or (not kinds and name in _LABELS)]
    if not images or not _holds_bytes(schema.field(images[0]).type):
        raise BadImage(f"{file}: expected a column of image files, got {', '.join(schema.names)[:200]}")
    return images[0], next((name for name in _LABELS if name in labels), labels[0] if labels else None)


def _features(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """The kinds of columns, where the file was written by `datasets`."""
    try:
        features = strict_json(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {str(name): str(kind["_type"]) for name, kind in features.items() if "_type" in kind}
    except (AttributeError, KeyError, TypeError, ValueError, json.JSONDecodeError):
        return {}


def _holds_bytes(kind: Any) -> bool:
    types = require("pyarrow", "table").types
    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return bool(types.is_binary(kind) or types.is_large_binary(kind))
