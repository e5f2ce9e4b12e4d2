"""What recipes do: train a denoiser, certify a set of images into runs/, both with progress and resumable; report."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cyclopts

from dsmooth.classifiers.base import Classifier
from dsmooth.console import Bar, complain, note, training_bar
from dsmooth.errors import DsmoothError
from dsmooth.images.sets import ImageSet
from dsmooth.records.store import read_run
from dsmooth.report.export import difference_table, markdown_table
from dsmooth.report.page import write_report
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import Progress, certify_run
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.theory.laws.base import Law
from dsmooth.theory.modes import FIXED, Mode
from dsmooth.training.denoising import train
from dsmooth.training.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DSMOOTH_DATA", ROOT.parent / "shared" / "data"))
RUNS = ROOT / "runs"

_WARM, _PROBE = 5, 40  # steps: before the clock runs, and in all


def main(app: cyclopts.App) -> None:
    """The command of a recipe: its help keeps the lines of commands apart, an error is one line, and 2 is for bad input."""
    app.help_format = "plaintext"
    try:
        app()
    except DsmoothError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except FileNotFoundError as error:  # mostly the data
        complain(f"{error.filename or 'input'}: {error.strerror or error}")
        sys.exit(2)


def teach(
    recipe: Recipe, sets: Sequence[ImageSet], out: Path, *, data: str, every: int = 1000, compiled: bool = False
) -> Path:
    """The denoiser of this recipe, trained into `out`; goes on where an earlier call stopped."""
    resume = (out / "recipe.json").exists()
    with training_bar(recipe) as show:
        return train(recipe, sets, out, data=data, resume=resume, every=every, compiled=compiled, on_report=show)


def lasting(recipe: Recipe, minutes: float, sets: Sequence[ImageSet], out: Path) -> Recipe:
    """The recipe with as many steps as take so many minutes of one core; as before where the training in `out` has begun.

    How long a step takes is measured in processor time, so that other programs on the machine change nothing.
    """
    if (out / "recipe.json").exists():
        return replace(recipe, steps=int(json.loads((out / "recipe.json").read_text())["steps"]))
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        train(
            replace(recipe, steps=_PROBE),
            sets,
            Path(place) / "probe",
            data="",
            every=_PROBE,
            on_report=lambda report: marks.append(time.process_time()),
        )
    each = (marks[-2] - marks[_WARM]) / (_PROBE - 2 - _WARM)  # before the last report all held-out images are judged
    return replace(recipe, steps=max(1, round(60 * minutes / each)))


def certify(
    name: str,
    images: ImageSet,
    classifier: str | Classifier,
    denoiser: str | Path | None,
    noise: float | Law,
    *,
    n0: int = 100,
    n: int = 1000,
    mode: Mode = FIXED,
    dtype: str = "bf16",
    seed: int = 0,
    batch: int | None = None,
    workers: int | None = None,
    mirror: bool = False,
) -> Path:
    """runs/`name` holds the finished run. noise: the sigma of Gaussian noise, or a law."""
    smoothed = SmoothedClassifier(classifier, denoiser, noise, dtype=dtype, batch=batch, workers=workers, mirror=mirror)
    out = RUNS / name
    with Bar(name, len(images) * (n0 + n), "samples") as bar:

        def show(progress: Progress) -> None:
            bar.to(len(images) * (n0 + n) - progress.samples_in_all + progress.samples)

        certify_run(
            smoothed,
            images,
            out,
            n0=n0,
            n=n,
            mode=mode,
            seed=seed,
            resume=(out / "run.json").exists(),
            on_progress=show,
            on_notice=note,
        )
    return out


def mode_named(name: Literal["curve", "fixed"], radii: tuple[float, ...]) -> Mode:
    """Curve stops an image as soon as it is settled which of these radii hold; fixed draws all votes."""
    return Mode("curve", radii) if name == "curve" else FIXED


def report(name: str, runs: Sequence[Path], radii: Sequence[float]) -> None:
    """runs/`name` holds the report of these runs; its tables are printed."""
    summary = summarise([read_run(run) for run in runs], radii)
    page = write_report(summary, RUNS / name)
    told = f"{summary.samples:,} samples in {summary.seconds:.0f} s"
    print(*filter(None, (markdown_table(summary), difference_table(summary), told, f"page: {page}")), sep="\n")
