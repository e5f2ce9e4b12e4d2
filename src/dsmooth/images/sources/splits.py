"""Which part of a data set is meant, where it has one for training and others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

__all__ = ["SPLITS", "chosen_split", "split_of"]

_TRAINING: Final = ("train", "training")
_OTHERS: Final = ("test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev")

SPLITS: Final = (*_TRAINING, *_OTHERS)
"""Names of parts of data sets."""


def split_of(name: str) -> str | None:
    """The part that a file belongs to by its name, as train-00000-of-00002.parquet does; None where it names none."""
    first = name.partition("-")[0].partition(".")[0].lower()
    return first if first in SPLITS else None


def chosen_split(held: Collection[str], *, training: bool) -> str | None:
    """Of the parts that are there the one for training, else for testing, else for validation; None where there is none."""
    order = (*_TRAINING, *_OTHERS) if training else (*_OTHERS, *_TRAINING)
    return next((name for name in order if name in held), None)
