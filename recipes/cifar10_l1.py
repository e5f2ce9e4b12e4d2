"""Certified accuracy in l1 on CIFAR-10: splitting noise, which leaves nothing to chance, beside uniform noise as wide.

    python -m recipes.cifar10_l1 [DENOISER ...] [--noise splitting uniform] [--levels 129 257 513 1025 2049] [--every 5]

DENOISER: a name or a file, `cifar10-l1` by default. The half-width of the noise is levels / 510. Splitting noise asks
for all `levels` outcomes; uniform noise for n0 = 100 and n = 1,000 votes, at alpha .001. --every 5 takes a fifth of the
500 images of the paper's subset. Interrupted, the same command goes on.
"""

from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from dsmooth.cli.options import MANY
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform
from recipes.cifar10 import classifier as spec_of
from recipes.cifar10 import test_images
from recipes.experiment import certify, report

RADII = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
LEVELS = [129, 257, 513, 1025, 2049]  # odd, as uniform noise needs them; unanimity at 513 reaches beyond radius 1
LAWS = {"splitting": Splitting, "uniform": Uniform}
N0, N = 100, 1000


def table(
    *denoisers: str,
    noise: Annotated[list[Literal["splitting", "uniform"]], MANY] = ["splitting", "uniform"],  # noqa: B006
    levels: Annotated[list[int], MANY] = LEVELS,
    classifier: Literal["resnet20", "resnet32", "resnet56"] = "resnet56",
    every: int = 1,
    workers: int | None = None,
) -> None:
    """Certify DENOISERS under each law, and print a table for each."""
    images = test_images()[::every]
    for denoiser in denoisers or ("cifar10-l1",):
        for law in noise:
            title = f"cifar10-l1-table-{Path(denoiser).stem}-{classifier}-{law}-every{every}"
            runs = [
                certify(
                    f"{title}-{count}",
                    images,
                    spec_of(classifier),
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
    app = cyclopts.App(name="python -m recipes.cifar10_l1", help=__doc__)
    app.default(table)
    app()
