"""The classifier's own answers to the images of a run, without smoothing: for reports only.

No digest covers these answers, and no certificate or decision depends on them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dsmooth.records.files import bounded_lines, open_to_append, open_to_read
from dsmooth.records.reading import strict_json
from dsmooth.records.schema import Record
from dsmooth.theory.votes import Label

__all__ = ["CLEAN", "add_clean_answer", "clean_answers"]

CLEAN: Final = "clean.jsonl"
"""Within the run folder: a line for each image."""


def add_clean_answer(run: Path, image: str, answer: Label | None) -> None:
    """The run folder holds the answer to the image of this digest; None where there was no usable one.

    Raises OSError where it cannot be written, or where a link is in the way.
    """
    with open_to_append(run / CLEAN, inside=run) as file:
        file.write(json.dumps({"image": image, "answer": answer}).encode() + b"\n")


def clean_answers(run: Path, records: Iterable[Record]) -> dict[str, Label | None]:
    """The answers to the images of these records, by digest; a line that says anything else is passed over."""
    wanted = {record.image for record in records}
    found: dict[str, Label | None] = {}
    try:
        with open_to_read(run / CLEAN, inside=run) as file:
            for line in bounded_lines(file):
                told = _told(line)
                if told is not None and told[0] in wanted:
                    found[told[0]] = told[1]
    except (OSError, ValueError):
        return found
    return found


def _told(line: bytes) -> tuple[str, Label | None] | None:
    try:
        value = strict_json(line)
        image, answer = value["image"], value["answer"]
    except (LookupError, TypeError, ValueError):  # a line that a crash cut off, or that somebody else wrote
        return None
    known = answer is None or (isinstance(answer, int | str) and not isinstance(answer, bool))
    return (image, answer) if isinstance(image, str) and known else None
