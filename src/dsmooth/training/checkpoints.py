"""The folder of a training: what is trained there, the last two checkpoints, the course so far."""

from __future__ import annotations

import io
import json
import zlib
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from dsmooth.errors import BadRun, first_line
from dsmooth.records.files import write_whole

__all__ = ["TrainingFolder"]

_KEPT = 2  # checkpoints


class TrainingFolder:
    """A folder that belongs to one training; every file in it is written all or nothing.

    recipe.json says what is trained, checkpoint-STEP.pt holds everything needed to go on, metrics.jsonl the course: one
    line for each evaluation.
    """

    newest: Path | None = None
    """The checkpoint that was written or restored last."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, told: dict[str, Any], *, resume: bool) -> None:
        """Raises BadRun where the folder holds another training, or one that nobody asked to continue."""
        path = self.path / "recipe.json"
        if not path.exists():
            if self.path.exists() and not self.path.is_dir():
                raise BadRun(f"{self.path} is a file: choose a folder for --out")
            if next(self.path.glob("*.safetensors"), None) or self.checkpoints():
                raise BadRun(f"{self.path} holds weights that are not from a training: choose another --out")
            return
        if not resume:
            raise BadRun(f"{self.path} already holds a training: pass --resume to continue it, or choose another --out")
        try:
            held = dict(json.loads(path.read_text()))
        except (OSError, RecursionError, TypeError, ValueError) as error:
            raise BadRun(f"{path}: expected the recipe of a training, cannot read it ({error})") from error
        for name in sorted(told.keys() | held.keys()):
            if held.get(name) != told.get(name):
                raise BadRun(
                    f"{self.path} was trained with {name} {held.get(name)}, not {told.get(name)}: choose another --out"
                )

    def open(self, told: dict[str, Any]) -> None:
        """The folder exists and says what is trained in it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.path / "recipe.json", json.dumps(told, indent=2) + "\n")
        except OSError as error:
            raise BadRun(f"{self.path}: cannot be written ({error.strerror})") from error

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.path.glob("checkpoint-*.pt"))

    def save(self, step: int, state: dict[str, Any], line: dict[str, Any] | None) -> None:
        """The state is on disk under this step, with one older checkpoint; a line, if any, is added to the course.

        Checkpoints of later steps, which could not be read when this training went on, are gone too.
        """
        if line is not None:  # first: after a kill between the two, the step is done again, and its line replaced
            course = [row for row in self.course() if row["step"] < step]
            text = "".join(json.dumps(row) + "\n" for row in [*course, line])
            write_whole(self.path / "metrics.jsonl", text)
        data = io.BytesIO()  # torch's own writer hides what went wrong with the disk
        torch.save({**state, "step": step}, data)
        path = self.path / f"checkpoint-{step:08d}.pt"
        write_whole(path, data.getvalue())
        self.newest = path
        held = self.checkpoints()
        current = held.index(path)
        for other in (*held[: max(0, current + 1 - _KEPT)], *held[current + 1 :]):
            other.unlink()

    def restore(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint that is whole; None where there is none at all. Raises BadRun where it cannot be read."""
        held = self.checkpoints()
        for path in reversed(held):
            if not _is_whole(path):  # the one before it is; torch would take damaged numbers as they are
                continue
            try:
                state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            except (RuntimeError, OSError, EOFError, ValueError, UnpicklingError) as error:  # no memory for it, say
                raise BadRun(
                    f"{path}: expected a checkpoint of a training, cannot read it ({first_line(error)})"
                ) from error
            self.newest = path
            return state
        if held:
            raise BadRun(
                f"{self.path}: none of the checkpoints ({', '.join(path.name for path in held)}) is whole: delete them to "
                "begin this training again"
            )
        return None

    def course(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, but for those that a crash of the disk tore."""
        path = self.path / "metrics.jsonl"
        rows = []
        for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
            with suppress(RecursionError, ValueError):
                rows.append(json.loads(line))
        return rows


def _is_whole(path: Path) -> bool:
    """Whether the file holds what was written: torch.save leaves a zip, with a checksum for each part of it."""
    try:
        with ZipFile(path) as held:
            return held.testzip() is None
    except (BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error):
        return False
