"""ImageNet, EfficientNet-Lite0: no denoiser, `photo` (squared error), `photo-light` (through EfficientNet-Lite1 and -Lite2).

    python -m recipes.imagenet_lite0 [ROW ...] [--sigma 0.25 0.5] [--mode curve]
    python -m recipes.imagenet_lite0 ROW ... --held-out --n 100 --mode fixed
    python -m recipes.imagenet_lite0 ROW ... --photographs --n0 20 --n 100 --mode fixed --sigma 0.25

No denoiser has met this classifier. 50 validation images, n0 = 100, n = 1,000, alpha = .001, bf16. Mode curve stops an image
as soon as it is settled which radii hold, at the same alpha; mode fixed draws all 1,000, and its report has the multiclass
bound beside Cohen's. --held-out, to choose among denoisers, takes the 25 ImageNet images that no denoiser was trained on,
behind this classifier and behind EfficientNet-Lite1 and -Lite2, through which they were; --photographs, for the same
purpose, the 68 of CBSD68 behind this classifier, whose answers to the clean images count as true. Interrupted, the same
command goes on.
"""

from __future__ import annotations

import sys
from itertools import product
from typing import Annotated, Literal

import cyclopts

from dsmooth.cli.options import MANY
from recipes.experiment import certify, mode_named, report
from recipes.imagenet_samples import cbsd68, held_out_images, validation_images

RADII = (0.0, 0.25, 0.5, 0.75, 1.0)
ROWS = ["none", "photo", "photo-light"]


def table(
    *rows: str,
    sigma: Annotated[list[float], MANY] = [0.25, 0.5],  # noqa: B006
    n0: int = 100,
    n: int = 1000,
    mode: Literal["curve", "fixed"] = "curve",
    held_out: bool = False,
    photographs: bool = False,
    workers: int | None = None,
) -> None:
    """Certify ROWS (all by default; or files of denoisers) at each SIGMA and print a table for each SIGMA."""
    if held_out and photographs:
        sys.exit("expected --held-out or --photographs, got both")
    if photographs:
        images, kind = cbsd68("efficientnet-lite0"), "-photographs"
    elif held_out:
        images, kind = held_out_images(), "-held-out"
    else:
        images, kind = validation_images(), ""
    chosen = mode_named(mode, RADII)
    for classifier, value in product(("lite0", "lite1", "lite2") if held_out else ("lite0",), sigma):
        title = f"imagenet-{classifier}{kind}-{mode}{n}{f'-n0-{n0}' if n0 != 100 else ''}-sigma{value:g}"
        runs = [
            certify(
                f"{title}-{row.replace('/', '_')}",
                images,
                f"efficientnet-{classifier}",
                None if row == "none" else row,
                value,
                n0=n0,
                n=n,
                mode=chosen,
                workers=workers,
            )
            for row in rows or ROWS
        ]
        report(title, runs, RADII)


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.imagenet_lite0", help=__doc__)
    app.default(table)
    app()
