"""Your own ImageNet: denoisers by the paper's recipe or ours, and its Tables 2 and 3 (Salman et al. 2020).

    python -m recipes.imagenet denoiser TRAIN runs/imagenet-mse
    python -m recipes.imagenet denoiser TRAIN runs/imagenet-stab --start runs/imagenet-mse --surrogates timm:resnet34
    python -m recipes.imagenet certify VAL --classifier timm:resnet50 --denoisers none photo runs/imagenet-stab

TRAIN and VAL are folders with one sub-folder a class, named as everywhere (n01440764, ...). White-box training names the
classifier that will be certified (ResNet-50); black-box training names others (ResNet-18 and -34) and leaves it out.
Everything can be interrupted: the same command goes on. Meant for a GPU: the paper's setting is 25 epochs for each sigma,
then 10,100 samples of 500 images, for each denoiser and sigma.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from dsmooth.cli.options import MANY
from dsmooth.images.opening import open_images
from dsmooth.theory.modes import FIXED, Mode
from dsmooth.training.recipe import Recipe
from recipes.experiment import certify as certify_set
from recipes.experiment import main, report, teach
from recipes.photo_denoisers import NETWORK

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)

app = cyclopts.App(name="python -m recipes.imagenet", help=__doc__)

# the paper's, for one sigma: 5 epochs of squared error, 20 of stability from there
PAPER: dict[str, Any] = {
    "architecture": "dncnn",
    "config": {"norm": True},
    "optimizer": "adam",
    "weight_decay": 1e-4,
    "schedule": "stepped",
    "average": 0.0,
    "clip": None,
}
# for all sigma at once: most steps are the squared error's, which asks no classifier
OURS: dict[str, Any] = {**NETWORK, "sigma_range": (0.08, 1.0)}


@app.command
def denoiser(
    train: Path,
    out: Path,
    /,
    *,
    start: str | None = None,
    surrogates: Annotated[list[str], MANY] = [],  # noqa: B006
    paper: float | None = None,
    batch: int = 32,
    compiled: bool = False,
) -> None:
    """Train OUT: squared error without surrogates, stability with them, from START.

    paper: the sigma of the paper's DnCNN, in place of one network for sigma .08 to 1.
    """
    images = open_images(train, size=256)  # some are smaller than a patch
    epoch = len(images) // batch
    shape: dict[str, Any] = {"batch": batch, "patch": 224, "turns": False, "zoom": False}
    if paper is not None:
        shape |= {**PAPER, "sigma_range": (paper, paper)}
        first, then = {"lr": 1e-4, "steps": 5 * epoch}, {"lr": 1e-5, "steps": 20 * epoch, "objective": "stab"}
    else:
        shape |= OURS
        first = {"lr": 5e-4, "steps": 5 * epoch}
        then = {"lr": 2e-4, "steps": 5 * epoch, "objective": "stab + 2.5 mse", "temperature": 4.0}
    recipe = Recipe(**{**shape, **(then if surrogates else first)})
    recipe = replace(recipe, start=start, surrogates=tuple(surrogates))
    print(f"denoiser: {teach(recipe, [images], out, data=f'{len(images):,} images', every=2000, compiled=compiled)}")


@app.command
def certify(
    val: Path,
    /,
    *,
    classifier: str = "timm:resnet50",
    denoisers: Annotated[list[str], MANY] = ["none", "photo"],  # noqa: B006
    sigma: Annotated[list[float], MANY] = [0.25, 0.5, 1.0],  # noqa: B006
    labels: Path | None = None,
    every: int = 100,
    n: int = 10_000,
    fixed: bool = False,
) -> None:
    """Certify every 100th image of VAL, 224 x 224, and print a table for each denoiser.

    fixed: all n samples of every image, as in the paper, with the multiclass bound beside Cohen's; by default an image
    ends when it is settled which radii hold. labels: a CSV with the columns file and label, where VAL has no sub-folders.
    """
    images = open_images(val, labels=labels, size=224)[::every]
    mode = FIXED if fixed else Mode("curve", RADII)
    for spec in denoisers:
        title = (
            f"imagenet-{classifier.partition('@')[0].replace(':', '-')}-{Path(spec).stem}-every{every}-n{n}-{mode.name}"
        )
        runs = [
            certify_set(
                f"{title}-sigma{value:g}", images, classifier, None if spec == "none" else spec, value, n=n, mode=mode
            )
            for value in sigma
        ]
        report(title, runs, RADII)


if __name__ == "__main__":
    main(app)
