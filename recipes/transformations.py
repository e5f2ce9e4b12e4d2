"""Certified against whole families of transformations, by covers: the share of images, their centres, queries and time.

    python -m recipes.transformations cifar10 [FAMILY ...] [--every 25] [--n 1000] [--sigma 0.25]
    python -m recipes.transformations imagenet [FAMILY ...] [--every 10] [--start 0] [--n 1000] [--sigma 0.5]

CIFAR-10: ResNet-56 behind `cifar10-white`, images of the paper's subset of 500. ImageNet: EfficientNet-Lite0 behind
`photo-light` or another DENOISER, images of the 50 of 224 pixels. n0 = 100, at most n votes at a centre, alpha = .001, rho a
half, one or two sigma, bf16. Interrupted, the same command goes on; `dsmooth report runs/NAME` has more of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import cyclopts

from dsmooth.images.sets import ImageSet
from dsmooth.records.store import Run, read_run
from dsmooth.theory.accuracy import population_lower_bound
from dsmooth.theory.modes import Mode
from dsmooth.theory.threats.known import threat_from_text
from recipes.cifar10 import classifier, test_images
from recipes.experiment import certify, main
from recipes.imagenet_samples import validation_images

SMALL = ("contrast 0.8 1.2", "gamma 0.8 1.25", "blur 1", "shift 2", "rotation 10", "jpeg 60")
LARGE = ("contrast 0.9 1.1", "gamma 0.9 1.1")

app = cyclopts.App(name="python -m recipes.transformations", help=__doc__)


@app.command
def cifar10(*families: str, every: int = 25, n: int = 1000, sigma: float = 0.25, workers: int | None = None) -> None:
    """Certify every EVERY-th image of 500 against each FAMILY."""
    networks = (classifier("resnet56"), "cifar10-white")
    images = test_images()[::every]
    table(f"cifar10-every{every}", images, networks, families or SMALL, n=n, sigma=sigma, workers=workers)


@app.command
def imagenet(
    *families: str,
    every: int = 10,
    start: int = 0,
    n: int = 1000,
    sigma: float = 0.5,
    denoiser: str = "photo-light",
    workers: int | None = None,
) -> None:
    """Certify every EVERY-th image of 50, from number START on, against each FAMILY."""
    networks, title = ("efficientnet-lite0", denoiser), f"imagenet-{Path(denoiser).stem}-{start}-every{every}"
    images = validation_images()[start::every]
    table(title, images, networks, families or LARGE, n=n, sigma=sigma, workers=workers)


def table(
    title: str,
    images: ImageSet,
    networks: tuple[str, str],
    families: Sequence[str],
    *,
    n: int,
    sigma: float,
    workers: int | None,
) -> None:
    """Certify the images against each of the families, and print a line for each."""
    print(
        "| family | certified | centres | of those certified | queries an image | if certified | s an image |",
        "| --- " * 7 + "|",
        sep="\n",
    )
    for text in families:
        mode = Mode("cover", against=threat_from_text(text))
        name = f"{title}-{text.replace(' ', '-')}-n{n}-sigma{sigma:g}"
        run = read_run(certify(name, images, *networks, sigma, n=n, mode=mode, workers=workers))
        print(line(text, run), flush=True)


def line(text: str, run: Run) -> str:
    """What came of a run: right and certified in % [a lower bound for the population], and means."""
    right = [record for record in run.records if record.answer is not None and record.answer == record.label]
    centres = [[len(record.cover["centres"]) for record in part if record.cover] for part in (run.records, right)]
    share = population_lower_bound(len(right), len(run.records), run.question.alpha)
    cells = (
        f"{100 * len(right) / len(run.records):.1f} [{100 * share:.1f}] of {len(run.records)}",
        *(f"{mean(list(filter(None, part)) or [0]):.1f}" for part in centres),
        *(f"{mean([record.drawn for record in part] or [0]):,.0f}" for part in (run.records, right)),
        f"{mean(record.seconds for record in run.records):.1f}",
    )
    return f"| `{text}` | {' | '.join(cells)} |"


if __name__ == "__main__":
    main(app)
