"""Certified accuracy in l1: splitting noise, which leaves nothing to chance, beside uniform noise as wide.

    python -m recipes.l1 cifar10 [--denoiser FILE] [--noise splitting uniform] [--levels 129 257 513 1025 2049] [--every 5]
    python -m recipes.l1 imagenet [--denoiser FILE] [--noise splitting uniform] [--levels 129 257]

CIFAR-10: ResNet-56 behind `cifar10-l1`, images of the paper's subset of 500. ImageNet: EfficientNet-Lite0, the 50 images of
224 pixels. The half-width of the noise is levels / 510. Splitting noise asks for all `levels` outcomes; uniform noise for
n0 = 100 and n = 1,000 votes, at alpha .001 (multiclass bound). Interrupted, the same command goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from dsmooth.cli.options import MANY
from dsmooth.images.sets import ImageSet
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform
from recipes.cifar10 import classifier as spec_of
from recipes.cifar10 import test_images
from recipes.experiment import certify, main, report
from recipes.imagenet_samples import validation_images

RADII = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
LAWS = {"splitting": Splitting, "uniform": Uniform}
N0, N = 100, 1000

Noise = Annotated[list[Literal["splitting", "uniform"]], MANY]
Levels = Annotated[list[int], MANY]  # odd, as uniform noise needs them; unanimity at 513 reaches beyond radius 1

app = cyclopts.App(name="python -m recipes.l1", help=__doc__)


@app.command
def cifar10(
    *,
    denoiser: str = "cifar10-l1",
    noise: Noise = ["splitting"],  # noqa: B006
    levels: Levels = [129, 257, 513, 1025, 2049],  # noqa: B006
    classifier: Literal["resnet20", "resnet32", "resnet56"] = "resnet56",
    every: int = 1,
    workers: int | None = None,
) -> None:
    """Certify every EVERY-th image of 500 at each number of LEVELS, and print a table for each law."""
    images, name = test_images()[::every], f"cifar10-l1-table-{Path(denoiser).stem}-{classifier}"
    tables(name, images, spec_of(classifier), denoiser, noise, levels, every, workers)


@app.command
def imagenet(
    *,
    denoiser: str = "photo-l1",
    noise: Noise = ["splitting"],  # noqa: B006
    levels: Levels = [129, 257],  # noqa: B006
    every: int = 1,
    workers: int | None = None,
) -> None:
    """Certify every EVERY-th image of 50 at each number of LEVELS, and print a table for each law."""
    images, name = validation_images()[::every], f"imagenet-l1-{Path(denoiser).stem}"
    tables(name, images, "efficientnet-lite0", denoiser, noise, levels, every, workers)


def tables(
    name: str,
    images: ImageSet,
    classifier: str,
    denoiser: str,
    noise: Noise,
    levels: Levels,
    every: int,
    workers: int | None,
) -> None:
    """A run for each law and number of levels, a report for each law."""
    for law in noise:
        title = f"{name}-{law}-every{every}"
        runs = [
            certify(
                f"{title}-{count}",
                images,
                classifier,
                denoiser,
                LAWS[law](levels=count),
                n0=N0 if law == "uniform" else 0,
                n=N if law == "uniform" else count,
                workers=workers,
            )
            for count in levels
        ]
        report(title, runs, RADII)


if __name__ == "__main__":
    main(app)
