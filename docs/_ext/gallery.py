"""What the gallery shows, made when the site is built: the demo's photographs, a classifier, and nothing that was kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

MADE = "_made"  # in the folder of the sources, where Sphinx looks for pictures
SIDE = 128  # pixels: a quarter of the work of 224
LEVELS = (0.25, 0.5)


def make(app: Any) -> None:
    """docs/_made holds strip.png, curve.svg and report.html, unless it does already."""
    if not (Path(app.srcdir) / MADE).exists():
        with tempfile.TemporaryDirectory(dir=app.srcdir, prefix=f"{MADE}.") as folder:
            _make(Path(folder))
            (Path(folder) / "report").rename(Path(app.srcdir) / MADE)


def _make(folder: Path) -> None:
    from dsmooth import SmoothedClassifier, load_denoiser
    from dsmooth.demo import photographs
    from dsmooth.images.sets import image_set
    from dsmooth.report.page import write_report
    from dsmooth.report.summary import summarise
    from dsmooth.runs.certify import certify_run
    from dsmooth.runs.looks import make_looks
    from dsmooth.training.measure import picture_strip

    photos = photographs(SIDE)
    names = [photo.name for photo in photos]
    images = image_set(names, [None] * len(photos), names, photos.__getitem__)
    denoiser = load_denoiser("photo-light")
    runs = []
    for sigma in LEVELS:
        with SmoothedClassifier("efficientnet-lite0", denoiser, sigma) as smoothed:
            runs.append(certify_run(smoothed, images, folder / f"sigma-{sigma}", n0=20, n=60, seed=0))
        make_looks(runs[-1], images, denoiser, records=runs[-1].records)
    write_report(summarise(runs), folder / "report")
    picture_strip(denoiser.denoise, images[:2], LEVELS).save(folder / "report" / "strip.png")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True}
