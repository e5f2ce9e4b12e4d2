"""ImageNet, EfficientNet-Lite0: no denoiser, `photo` (squared error), `photo-light` (through EfficientNet-Lite1 and -Lite2).

    python -m recipes.imagenet_lite0 [ROW ...] [--sigma 0.25 0.5] [--mode curve]

No denoiser has met this classifier. 50 validation images, n0 = 100, n = 1,000, alpha = .001, bf16. Mode curve stops an image
as soon as it is settled which radii hold, at the same alpha; mode fixed draws all 1,000, and its report has the multiclass
bound beside Cohen's. Interrupted, the same command goes on.
"""

from __future__ import annotations

from typing import Annotated, Literal

import cyclopts

from dsmooth.cli.options import MANY
from recipes.experiment import certify, mode_named, report
from recipes.imagenet_samples import validation_images

RADII = (0.0, 0.25, 0.5, 0.75, 1.0)
ROWS = ["none", "photo", "photo-light"]


def table(
    *rows: str,
    sigma: Annotated[list[float], MANY] = [0.25, 0.5],  # noqa: B006
    mode: Literal["curve", "fixed"] = "curve",
    workers: int | None = None,
) -> None:
    """Certify ROWS (all by default; or files of denoisers) at each SIGMA and print a table for each SIGMA."""
    images = validation_images()
    chosen = mode_named(mode, RADII)
    for value in sigma:
        title = f"imagenet-lite0-{mode}-sigma{value:g}"
        runs = [
            certify(
                f"{title}-{row.replace('/', '_')}",
                images,
                "efficientnet-lite0",
                None if row == "none" else row,
                value,
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
