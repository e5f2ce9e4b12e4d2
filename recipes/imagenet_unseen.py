"""ImageNet, behind a classifier that no denoiser has met: no denoiser, `photo` (squared error), `photo-light`.

    python -m recipes.imagenet_unseen [ROW ...] [--sigma 0.25 0.5] [--mode curve]
    python -m recipes.imagenet_unseen [ROW ...] --classifier mobilenet
    python -m recipes.imagenet_unseen ROW ... --held-out --n 100 --mode fixed
    python -m recipes.imagenet_unseen ROW ... --photographs --n0 20 --n 100 --mode fixed --sigma 0.25

Denoisers were trained through EfficientNet-Lite1 and -Lite2. EfficientNet-Lite0 is new to them, and of the same family;
MobileNetV2 is of another (`python -m recipes.mobilenet_v2 --help` says how to get it).

50 validation images, n0 = 100, n = 1,000, alpha = .001, bf16. Mode curve stops an image as soon as it is settled which radii
hold, at the same alpha; mode fixed draws all 1,000, and its report has the multiclass bound beside Cohen's. To choose among
denoisers, --held-out takes the 25 ImageNet images that no denoiser was trained on, and --photographs the 68 of CBSD68, where
the classifier's answers to the clean images count as true. Interrupted, the same command goes on.
"""

from __future__ import annotations

from typing import Annotated, Literal

import cyclopts

from dsmooth.cli.options import MANY
from dsmooth.errors import BadParameter
from recipes.experiment import certify, main, mode_named, report
from recipes.imagenet_samples import cbsd68, held_out_images, validation_images

RADII = (0.0, 0.25, 0.5, 0.75, 1.0)
ROWS = ["none", "photo", "photo-light"]
CLASSIFIERS = {
    "lite0": "efficientnet-lite0",
    "lite1": "efficientnet-lite1",
    "lite2": "efficientnet-lite2",
    "mobilenet": "import:recipes.mobilenet_v2:classifier",
}


def table(
    *rows: str,
    classifier: Literal["lite0", "lite1", "lite2", "mobilenet"] = "lite0",
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
        raise BadParameter("expected --held-out or --photographs, got both")
    if photographs:
        images, kind = cbsd68(classifier, CLASSIFIERS[classifier]), "-photographs"
    elif held_out:
        images, kind = held_out_images(), "-held-out"
    else:
        images, kind = validation_images(), ""
    chosen = mode_named(mode, RADII)
    for value in sigma:
        title = f"imagenet-{classifier}{kind}-{mode}{n}{f'-n0-{n0}' if n0 != 100 else ''}-sigma{value:g}"
        runs = [
            certify(
                f"{title}-{row.replace('/', '_')}",
                images,
                CLASSIFIERS[classifier],
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
    app = cyclopts.App(name="python -m recipes.imagenet_unseen", help=__doc__)
    app.default(table)
    main(app)
