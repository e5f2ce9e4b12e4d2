"""The paper's comparisons in small: CIFAR-10, ResNet-56, sigma .25, n0 = 100, n = 1,000, alpha = .001, bf16.

    python -m recipes.cifar10_small objectives|surrogates|architectures|noisy [--minutes 3] [--every 1] [--mode curve]

objectives: squared error, stability and classification through ResNet-56, from random weights and from the squared error.
surrogates: stability through one classifier or three, ResNet-56 unseen, from random weights and from the squared error.
Both use the recommended network, and have the recommended recipe beside them, which trains a class head first.
architectures: the networks of the paper and ours under the squared error.
noisy: ResNet-20 trained on noisy images and certified without a denoiser (Cohen et al. 2019), trained by the clock.
The squared error is trained for so many minutes of one core, what starts from it for so many more, and everything else for
twice as many: how many steps these are is measured first, in processor time.
Mode curve stops an image as soon as it is settled which radii hold, at the same alpha. Mode fixed draws all votes, and the
report has the multiclass bound beside Cohen's. --every 5 takes a fifth of the paper's 500 images. Interrupted, the same
command goes on.
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
from recipes.cifar10_denoisers import ATTACKED, HEADLESS, POOL, RECOGNISING, STORY
from recipes.experiment import RUNS, certify, lasting, main, mode_named, report, teach

RADII = (0.0, 0.25, 0.5)
SIGMA = 0.25
FIXED_SIGMA: dict[str, Any] = {"sigma_range": (SIGMA, SIGMA), "judged": (SIGMA,)}
RECOMMENDED: dict[str, Any] = {**RECOGNISING, **FIXED_SIGMA}
ALWAYS: dict[str, Any] = {**RECOMMENDED, "config": HEADLESS, "alone": 0.0}  # one objective, from the first step
WHITE: dict[str, Any] = {**ALWAYS, "surrogates": ATTACKED}
ONE: dict[str, Any] = {**ALWAYS, "surrogates": POOL[:1], "objective": "stab"}
THREE: dict[str, Any] = {**ALWAYS, "surrogates": POOL, "objective": "stab"}
FINE: dict[str, Any] = {"lr": 1e-3}  # half of it: what is there already is to change little
MSE = Recipe(**{**WHITE, "objective": "mse"})  # the classifier only judges
STEPS: dict[str, Any] = {
    **FIXED_SIGMA,
    "padding": 4,
    "batch": 16,  # small: batch normalisation learns little in a few hundred steps
    "average": 0.998,
    "surrogates": POOL,  # judge the squared error, which never asks them
}
ROWS: dict[str, dict[str, tuple[Recipe, str | None]]] = {
    "objectives": {
        "mse": (MSE, None),
        "stab": (Recipe(**{**WHITE, "objective": "stab"}), None),
        "clf": (Recipe(**{**WHITE, "objective": "clf"}), None),
        "stab-from-mse": (Recipe(**{**WHITE, **FINE, "objective": "stab"}), "mse"),
        "clf-from-mse": (Recipe(**{**WHITE, **FINE, "objective": "clf"}), "mse"),
        "recommended": (Recipe(**RECOMMENDED, surrogates=ATTACKED), None),
    },
    "surrogates": {
        "mse": (MSE, None),
        "one": (Recipe(**ONE), None),
        "one-from-mse": (Recipe(**{**ONE, **FINE}), "mse"),
        "three": (Recipe(**THREE), None),
        "three-from-mse": (Recipe(**{**THREE, **FINE}), "mse"),
        "recommended-one": (Recipe(**RECOMMENDED, surrogates=POOL[:1]), None),
        "recommended-three": (Recipe(**RECOMMENDED, surrogates=POOL), None),
    },
    "architectures": {
        "dncnn": (Recipe(**STEPS, architecture="dncnn", config={"norm": True}), None),
        "dncnn-wide": (Recipe(**STEPS, architecture="dncnn", config={"width": 128, "norm": True}), None),
        "memnet": (Recipe(**STEPS, architecture="memnet", config={}), None),
        "unet": (
            Recipe(**STEPS, config={"widths": [32, 64, 128], "blocks": [1, 2, 4], "shuffle": 1, "scaled": True}),
            None,
        ),
    },
}


def table(
    which: Literal["objectives", "surrogates", "architectures", "noisy"],
    /,
    *,
    minutes: float = 3.0,
    every: int = 1,
    mode: Literal["curve", "fixed"] = "curve",
    workers: int | None = None,
) -> None:
    """Train and certify the rows of one table, and print it."""
    images = test_images()[::every]
    chosen = mode_named(mode, RADII)

    setting = f"every{every}-{mode}"

    def certified(folder: Path, model: str | Classifier, denoiser: Path | None) -> Path:
        name = f"{folder.name}-certified-{setting}"
        return certify(name, images, model, denoiser, SIGMA, mode=chosen, workers=workers)

    runs = []
    if which == "noisy":
        folder = _folder("noisy", minutes)
        runs.append(certified(folder, _noisy(folder, minutes), None))
    else:
        for name, (recipe, start) in ROWS[which].items():
            folder = _folder(name, minutes)
            runs.append(certified(folder, classifier("resnet56"), _trained(folder, recipe, start, minutes)))
    report(f"{_folder(which, minutes).name}-{setting}", runs, RADII)


def _folder(name: str, minutes: float) -> Path:
    return RUNS / f"cifar10-small-{name}-{minutes:g}min"


def _trained(out: Path, recipe: Recipe, start: str | None, minutes: float) -> Path:
    if not (out / "model.safetensors").exists():
        source = None if start is None else str(_folder(start, minutes) / "model.safetensors")
        share = 1 if start or recipe.objective == "mse" else 2
        chosen = lasting(replace(recipe, start=source), share * minutes, [training_images()], out)
        teach(chosen, [training_images()], out, data=STORY, every=500)
    return out / "model.safetensors"


def _noisy(out: Path, minutes: float) -> str:
    recipe = ClassifierRecipe(sigma=SIGMA, minutes=minutes, batch=128, average=0.998)
    if not (out / "model.safetensors").exists():
        with training_bar(recipe) as show:
            train_classifier(recipe, training_images(), out, resume=(out / "recipe.json").exists(), on_report=show)
    return f"cifar:resnet20@{out / 'model.safetensors'}"


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.cifar10_small", help=__doc__)
    app.default(table)
    main(app)
