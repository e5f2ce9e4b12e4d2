"""Denoisers for CIFAR-10, by kind of access: one a sigma, or one for all; and the paper's DnCNN at sigma .25, by objective.

python -m recipes.cifar10_denoisers white-0.25 --minutes 50
python -m recipes.cifar10_denoisers black-0.25 --minutes 50
python -m recipes.cifar10_denoisers mse --minutes 35
python -m recipes.cifar10_denoisers white
python -m recipes.cifar10_denoisers white-longer
python -m recipes.cifar10_denoisers white-consistent
python -m recipes.cifar10_denoisers pool-consistent
python -m recipes.cifar10_denoisers pool-without-mse
python -m recipes.cifar10_denoisers pool-without-mse-longer
python -m recipes.cifar10_denoisers l1
python -m recipes.cifar10_denoisers l1-uniform
python -m recipes.cifar10_denoisers black --minutes 36
python -m recipes.cifar10_denoisers dncnn-mse
python -m recipes.cifar10_denoisers dncnn-stab+mse

Each goes on where it stopped when it is called again. Those that start from another one look for it in runs/.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from dsmooth.cli.options import MANY
from dsmooth.errors import BadParameter
from dsmooth.training.recipe import Recipe
from recipes.cifar10 import classifier, training_images
from recipes.experiment import RUNS, main, teach

ATTACKED = (classifier("resnet56"),)
POOL = tuple(classifier(name) for name in ("resnet20", "resnet32", "resnet8"))  # none is the attacked one; all licensed
SIGMAS = (0.12, 0.25, 0.5, 1.0)
EPOCH = 48_750 // 256  # steps: 50,000 images, of which every 40th is held out

WIDE_RANGE: dict[str, Any] = {
    "config": {"widths": [32, 64, 128], "blocks": [2, 2, 4], "shuffle": 1, "scaled": True},
    "sigma_range": (0.12, 1.0),
    "sigma_law": "log-uniform",
    "judged": (0.12, 0.25, 0.5, 1.0),
    "padding": 4,
    "batch": 64,
    "average": 0.998,
}
FINE_RANGE: dict[str, Any] = {**WIDE_RANGE, "batch": 128, "temperature": 4.0, "lr": 2e-4}
# the paper's: Adam, 90 epochs, a tenth after each 30; without averaging and clipping
PAPER: dict[str, Any] = {
    "architecture": "dncnn",
    "config": {"norm": True},
    "sigma_range": (0.25, 0.25),
    "padding": 4,
    "batch": 256,
    "optimizer": "adam",
    "schedule": "stepped",
    "steps": 90 * EPOCH,
    "average": 0.0,
    "clip": None,
}
FINE: dict[str, Any] = {**PAPER, "lr": 1e-5, "steps": 20 * EPOCH}

# at half resolution, with a class head; first without any classifier, then through ResNet-56 itself, or through the pool
RECOGNISING: dict[str, Any] = {
    "config": {
        "widths": [64, 128, 256], "blocks": [2, 2, 2], "decoder_blocks": [1, 1], "shuffle": 2, "scaled": True,
        "classes": 10, "norm": True,
    },
    "objective": "clf + head + 2.5 mse",
    "alone": 0.65,
    "temperature": 4.0,
    "cut": 1.0,
    "padding": 4,
    "batch": 128,
    "optimizer": "muon",
    "lr": 2e-3,
    "schedule": "linear",
    "weight_decay": 0.01,
    "clip": 1.0,
    "average": 0.997,
    "steps": 6000,
}  # fmt: skip

HEADLESS = {name: value for name, value in RECOGNISING["config"].items() if name != "classes"}
"""The same network without its head."""

# one network for all that strong noise is for; how long it takes is counted in steps, so that pauses change nothing
WHITE = Recipe(
    **{**RECOGNISING, "steps": 5_000, "weight_decay": 0.05},
    surrogates=ATTACKED,
    sigma_range=(0.2, 1.0),
    sigma_law="log-uniform",
    judged=(0.25, 0.5, 1.0),
)

# the head consistent too, strong noise as often as weak, and ResNet-32 and -8 beside ResNet-56, for the sake of those that
# nobody can train through; ResNet-20 stays unseen, to be certified as such a one
CONSISTENT = replace(
    WHITE,
    objective="clf + 8 cons + head + 5 headcons + 2.5 mse",
    surrogates=(*ATTACKED, *POOL[1:]),
    sigma_range=(0.1, 1.0),
    sigma_law="uniform",
    judged=(0.12, 0.25, 0.5, 1.0),
    lr=1e-3,
    alone=0.0,
    seed=3,
    steps=7_000,
)
# what the classifiers see need not look like the image
WITHOUT_MSE = replace(CONSISTENT, objective="clf + 8 cons + head + 5 headcons")

RECIPES: dict[str, Recipe] = {
    "mse": Recipe(**WIDE_RANGE, surrogates=POOL, steps=60_000),  # the pool judges only
    "white": WHITE,
    "white-longer": replace(WHITE, steps=8_000, alone=0.6, seed=1),
    # the same answer under every draw: larger radii under strong noise, fewer right answers under weak noise
    "white-consistent": replace(WHITE, objective="clf + 10 cons + head + 2.5 mse", lr=1e-3, alone=0.0, seed=2),
    "pool-consistent": CONSISTENT,  # ships as cifar10-white
    "pool-without-mse": replace(WITHOUT_MSE, seed=4, steps=3_000),
    "pool-without-mse-longer": replace(WITHOUT_MSE, seed=5, steps=5_000),
    # splitting noise of half-width .25 to 4, for certificates in l1; from a network that knows the images already, and
    # without the last of its blocks, which makes the file 5.4 MB
    "l1": replace(
        WHITE,
        config={**RECOGNISING["config"], "blocks": [2, 2, 1]},
        noise="splitting",
        sigma_range=(0.14, 2.4),
        judged=(0.145, 0.29, 0.58, 1.15, 2.3),
    ),
    # the same for uniform noise of half-width .25 to 2; to a network, it is nearer to normal than to splitting noise
    "l1-uniform": replace(
        WHITE,
        noise="uniform",
        sigma_range=(0.14, 1.2),
        judged=(0.145, 0.29, 0.58, 1.15),
        steps=2_500,
        alone=0.3,
    ),
    "black": Recipe(**FINE_RANGE, objective="stab + 2.5 mse", surrogates=POOL, steps=30_000),
    **{f"white-{s:g}": Recipe(**RECOGNISING, surrogates=ATTACKED, sigma_range=(s, s)) for s in SIGMAS},
    **{f"black-{s:g}": Recipe(**RECOGNISING, surrogates=POOL, sigma_range=(s, s)) for s in SIGMAS},
    "dncnn-mse": Recipe(**PAPER, surrogates=POOL),
    "dncnn-stab": Recipe(**PAPER, objective="stab", surrogates=ATTACKED),
    "dncnn-clf": Recipe(**PAPER, objective="clf", surrogates=ATTACKED),
    "dncnn-stab+mse": Recipe(**FINE, objective="stab", surrogates=ATTACKED),
    "dncnn-clf+mse": Recipe(**FINE, objective="clf", surrogates=ATTACKED),
}
STARTS = {
    "white-longer": "white",
    **dict.fromkeys(("white-consistent", "l1", "l1-uniform"), "white-longer"),
    "pool-consistent": "white-consistent",
    "pool-without-mse": "pool-consistent",
    "pool-without-mse-longer": "pool-without-mse",
    "black": "mse",
    **dict.fromkeys(("dncnn-stab+mse", "dncnn-clf+mse"), "dncnn-mse"),
}
STORY = "CIFAR-10 training images (Krizhevsky 2009)"


def learn(
    name: str,
    /,
    *,
    out: Path | None = None,
    minutes: float | None = None,
    start: str | None = None,
    objective: str | None = None,
    surrogates: Annotated[list[str] | None, MANY] = None,
    lr: float | None = None,
    batch: int | None = None,
    steps: int | None = None,
    alone: float | None = None,
    seed: int | None = None,
    every: int = 1000,
    compiled: bool = False,
) -> None:
    """Train the denoiser NAME into OUT, runs/cifar10-NAME by default; what is given replaces what the recipe says.

    surrogates: names (resnet20) or specs (import:recipes.vnncomp:resnet_2b). start: a denoiser, or none.
    """
    if name not in RECIPES:
        raise BadParameter(f"expected one of {', '.join(RECIPES)}, got {name!r}")
    recipe = RECIPES[name]
    if start is None and name in STARTS:
        start = str(RUNS / f"cifar10-{STARTS[name]}" / "model.safetensors")
    changes: dict[str, Any] = {
        "minutes": minutes, "start": start, "objective": objective, "lr": lr, "batch": batch, "steps": steps, "alone": alone,
        "seed": seed,
    }  # fmt: skip
    changes = {key: value for key, value in changes.items() if value is not None}
    if start == "none":
        changes["start"] = None
    if surrogates is not None:
        changes["surrogates"] = tuple(spec if ":" in spec else classifier(spec) for spec in surrogates)
    path = teach(
        replace(recipe, **changes),
        [training_images()],
        out or RUNS / f"cifar10-{name}",
        data=STORY,
        every=every,
        compiled=compiled,
    )
    print(f"denoiser: {path}")


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.cifar10_denoisers", help=__doc__)
    app.default(learn)
    main(app)
