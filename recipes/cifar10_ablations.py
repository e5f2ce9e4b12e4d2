"""One factor at a time around the recipe that recognises first and paints then: CIFAR-10, ResNet-56, sigma .25.

    python -m recipes.cifar10_ablations [--minutes 4] [--only base adamw ...]

Each row is trained for so many minutes of one core: how many steps these are is measured first, in processor time, so that
other programs on the machine change nothing. Judged on the held-out training images, one draw of the noise for each: the
accuracy of the denoiser's own head, which has not met them (standard error 1.4 points), and of ResNet-56 behind it, which
knows them by heart. Test images choose nothing. Interrupted, the same command goes on; what is done is not trained again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from dsmooth.cli.options import MANY
from dsmooth.training.checkpoints import TrainingFolder
from dsmooth.training.judging import HEAD
from dsmooth.training.objectives import Objective
from dsmooth.training.recipe import Recipe
from recipes.cifar10 import training_images
from recipes.cifar10_denoisers import ATTACKED, HEADLESS, POOL, RECOGNISING, STORY
from recipes.experiment import RUNS, lasting, main, teach

SIGMA = 0.25
BASE = Recipe(**RECOGNISING, surrogates=ATTACKED, sigma_range=(SIGMA, SIGMA), judged=(SIGMA,))
NETWORK = RECOGNISING["config"]
ROWS: dict[str, dict[str, Any]] = {
    "base": {},
    "adamw": {"optimizer": "adamw"},
    "full-resolution": {"config": {**NETWORK, "shuffle": 1}},
    "no-head": {"config": HEADLESS, "objective": "clf + 2.5 mse"},
    "no-norm": {"config": {**NETWORK, "norm": False}},
    "stab": {"objective": "stab + head + 2.5 mse"},
    "adv": {"objective": "adv + head + 2.5 mse"},
    "selective": {"objective": "sel + head + 2.5 mse"},
    "label-smoothing": {"label_smoothing": 0.1},
    "more-surrogates": {"surrogates": (*ATTACKED, *POOL)},
    "consistency": {"objective": "clf + 5 cons + head + 2.5 mse"},
    "never-alone": {"alone": 0.0},
    "temperature-1": {"temperature": 1.0},
    "no-cut": {"cut": None},
    "batch-64": {"batch": 64},
    "no-average": {"average": 0.0},
    "log-uniform": {"sigma_range": (0.2, 1.0), "sigma_law": "log-uniform"},
    "uniform": {"sigma_range": (0.2, 1.0)},
    "no-mirror": {"mirror": False},
    "mirrored": {"mirrored": True},
    "distort": {"distort": 0.1},
    "decay": {"weight_decay": 0.05},
}
"""Name -> what differs from the base."""


def recipe(name: str) -> Recipe:
    """The recipe of a row, but for how many steps it is trained."""
    return replace(BASE, **ROWS[name])


def table(*, minutes: float = 4.0, only: Annotated[list[str] | None, MANY] = None) -> None:
    """Train the rows, all or only some, and print what is there as a table."""
    for name in only or ROWS:
        out = folder(name, minutes)
        if not (out / "model.safetensors").exists():
            chosen = lasting(recipe(name), minutes, [training_images()], out)
            teach(chosen, [training_images()], out, data=STORY, every=500)
    print(f"{minutes:g} minutes of one core each\n")
    print("| row | what differs | steps | images | head | ResNet-56 | PSNR |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in ROWS:
        if course := TrainingFolder(folder(name, minutes)).course():
            print(row(name, course[-1]))


def folder(name: str, minutes: float) -> Path:
    """Where a row is trained."""
    return RUNS / f"cifar10-ablation-{name}-{minutes:g}min"


def row(name: str, last: dict[str, Any]) -> str:
    """A line of the table, from the last evaluation of a training."""
    accuracy = {who: scores[f"{SIGMA:g}"] for who, scores in last["scores"]["accuracy"].items()}
    head = accuracy.pop(HEAD, None)
    behind = next(iter(accuracy.values()))  # the attacked classifier is the first surrogate of every row
    chosen = recipe(name)
    images = last["step"] * chosen.batch // Objective.parse(chosen.objective).draws
    return (
        f"| {name} | {', '.join(f'{key} {_short(key, value)}' for key, value in ROWS[name].items())} | {last['step']:,} "
        f"| {images:,} | {'' if head is None else f'{100 * head:.1f}'} | {100 * behind:.1f} "
        f"| {last['scores']['psnr'][f'{SIGMA:g}']:.2f} |"
    )


def _short(key: str, value: Any) -> Any:
    if key == "surrogates":
        return len(value)
    if key != "config":
        return value
    return ", ".join(f"{k} {value.get(k)}" for k in {**NETWORK, **value} if NETWORK.get(k) != value.get(k))


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.cifar10_ablations", help=__doc__)
    app.default(table)
    main(app)
