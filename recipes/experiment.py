"""What every recipe does: certify a set of images into runs/, with progress, resumable; report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dsmooth.classifiers.base import Classifier
from dsmooth.console import Bar, note
from dsmooth.images import ImageSet
from dsmooth.records.store import read_run
from dsmooth.report.export import markdown_table
from dsmooth.report.page import write_report
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import Progress, certify_run
from dsmooth.smoothing.smoothed import SmoothedClassifier

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DSMOOTH_DATA", ROOT.parent / "shared" / "data"))
RUNS = ROOT / "runs"


def certify(
    name: str,
    images: ImageSet,
    classifier: str | Classifier,
    denoiser: str | Path | None,
    sigma: float,
    *,
    n0: int = 100,
    n: int = 1000,
    dtype: str = "bf16",
    seed: int = 0,
    batch: int | None = None,
) -> Path:
    """runs/`name` holds the finished run."""
    smoothed = SmoothedClassifier(classifier, denoiser, sigma, dtype=dtype, batch=batch)
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
            seed=seed,
            resume=(out / "run.json").exists(),
            on_progress=show,
            on_notice=note,
        )
    return out


def report(name: str, runs: Sequence[Path], radii: Sequence[float]) -> None:
    """runs/`name` holds the report of these runs; the table is printed."""
    summary = summarise([read_run(run) for run in runs], radii)
    page = write_report(summary, RUNS / name)
    print(markdown_table(summary), f"{summary.samples:,} samples in {summary.seconds:.0f} s", f"page: {page}", sep="\n")
