"""The paper's comparisons in small: CIFAR-10, ResNet-56, sigma .25, n0 = 100, n = 1,000, alpha = .001, bf16.

    python -m recipes.cifar10_small objectives|surrogates|architectures|noisy [--minutes 5] [--every 5] [--mode fixed]

objectives: squared error, stability and classification through ResNet-56, from random weights and from the squared error.
surrogates: stability through one classifier or several, ResNet-56 unseen, from random weights and from the squared error.
architectures: the networks of the paper and ours under the squared error. noisy: ResNet-20 trained on noisy images and
certified without a denoiser (Cohen et al. 2019). The first two use a U-Net of 0.4 million parameters; everything is trained
for so many minutes, what starts from the squared error for so many more. Mode fixed draws all votes, and the report has the
multiclass bound beside Cohen's; mode curve stops an image as soon as it is settled which radii hold, at the same alpha.
Interrupted, the same command goes on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cyclopts

from dsmooth.classifiers.base import Classifier
from dsmooth.console import training_bar
from dsmooth.training.classifying import ClassifierRecipe, train_classifier
from dsmooth.training.recipe import Recipe
from recipes.cifar10 import classifier, test_images, training_images
from recipes.cifar10_denoisers import ATTACKED, POOL, STORY
from recipes.experiment import RUNS, certify, mode_named, report, teach

RADII = (0.0, 0.25, 0.5)
SIGMA = 0.25
COMMON: dict[str, Any] = {
    "sigma_range": (SIGMA, SIGMA),
    "padding": 4,
    "batch": 64,
    "average": 0.998,
    "surrogates": POOL,  # judge the squared error, which never asks them
}
SMALL: dict[str, Any] = {
    **COMMON,
    "config": {"widths": [16, 32, 64], "blocks": [1, 2, 4], "shuffle": 1, "scaled": True},
}
STEPS: dict[str, Any] = {**COMMON, "batch": 16}
MSE = Recipe(**SMALL)
WHITE: dict[str, Any] = {**SMALL, "surrogates": ATTACKED}
ONE: dict[str, Any] = {**SMALL, "surrogates": POOL[:1]}
ROWS: dict[str, dict[str, tuple[Recipe, str | None]]] = {
    "objectives": {
        "mse": (MSE, None),
        "stab": (Recipe(**WHITE, objective="stab", lr=3e-4), None),
        "clf": (Recipe(**WHITE, objective="clf", lr=3e-4), None),
        "stab-from-mse": (Recipe(**WHITE, objective="stab", lr=1e-4), "mse"),
        "clf-from-mse": (Recipe(**WHITE, objective="clf", lr=1e-4), "mse"),
    },
    "surrogates": {
        "mse": (MSE, None),
        "one": (Recipe(**ONE, objective="stab", lr=3e-4), None),
        "one-from-mse": (Recipe(**ONE, objective="stab", lr=1e-4), "mse"),
        "three": (Recipe(**SMALL, objective="stab", lr=3e-4), None),
        "three-from-mse": (Recipe(**SMALL, objective="stab", lr=1e-4), "mse"),
    },
    "architectures": {  # small batches: batch normalisation learns little in a few hundred steps
        "dncnn": (Recipe(**STEPS, architecture="dncnn", config={"norm": True}), None),
        "dncnn-wide": (Recipe(**STEPS, architecture="dncnn", config={"width": 128, "norm": True}), None),
        "memnet": (Recipe(**STEPS, architecture="memnet", config={}), None),
        "unet": (Recipe(**STEPS, config={**SMALL["config"], "widths": [32, 64, 128]}), None),
    },
}


def table(
    which: Literal["objectives", "surrogates", "architectures", "noisy"],
    /,
    *,
    minutes: float = 5.0,
    every: int = 5,
    mode: Literal["curve", "fixed"] = "fixed",
    workers: int | None = None,
) -> None:
    """Train and certify the rows of one table, and print it."""
    images = test_images()[::every]
    chosen = mode_named(mode, RADII)

    def certified(name: str, model: str | Classifier, denoiser: Path | None) -> Path:
        return certify(f"cifar10-small-{name}-certified", images, model, denoiser, SIGMA, mode=chosen, workers=workers)

    runs = []
    if which == "noisy":
        runs.append(certified("noisy", _noisy(minutes), None))
    else:
        for name, (recipe, start) in ROWS[which].items():
            found = _trained(name, recipe, start, minutes)
            runs.append(certified(name, classifier("resnet56"), found))
    report(f"cifar10-small-{which}", runs, RADII)


def _trained(name: str, recipe: Recipe, start: str | None, minutes: float) -> Path:
    out = RUNS / f"cifar10-small-{name}"
    if not (out / "model.safetensors").exists():
        source = None if start is None else str(RUNS / f"cifar10-small-{start}" / "model.safetensors")
        chosen = replace(recipe, minutes=minutes, start=source)
        teach(chosen, [training_images()], out, data=STORY, every=500)
    return out / "model.safetensors"


def _noisy(minutes: float) -> str:
    out = RUNS / "cifar10-small-noisy"
    recipe = ClassifierRecipe(sigma=SIGMA, minutes=minutes, batch=128, average=0.998)
    if not (out / "model.safetensors").exists():
        with training_bar(recipe) as show:
            train_classifier(recipe, training_images(), out, resume=(out / "recipe.json").exists(), on_report=show)
    return f"cifar:resnet20@{out / 'model.safetensors'}"


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.cifar10_small", help=__doc__)
    app.default(table)
    app()
