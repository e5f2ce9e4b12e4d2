"""Denoisers for photographs and classifiers of 224 pixels: squared error, stability, a light one, one for splitting noise.

    python -m recipes.photo_denoisers photo            squared error, in two stages; an hour
    python -m recipes.photo_denoisers photo-stab       then through EfficientNet-Lite1 and -Lite2
    python -m recipes.photo_denoisers photo-light      a fifth of the work a pixel; learns from photo-stab, then through both
    python -m recipes.photo_denoisers photo-l1         another light one, for splitting noise of half-width .25 to .5

Stab+MSE of Salman et al. 2020 with surrogates (black box): the squared error comes first, and stays in the objective, so
that the estimate remains an image. EfficientNet-Lite0, which is certified, takes no part. Each goes on where it stopped
when it is called again; --minutes changes how long the last stage takes.

`photo-stab` is the mean of the weights before and after its last stage: behind it, classifiers recognise more than behind
either end (Wortsman et al. 2022 found this for classifiers). `photo-light` has two such means, one of networks for sigma .2
to .6 and, at the finest scales below sigma .3, one of networks for .2 to .3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cyclopts
import torch
from torch import Tensor

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.denoisers.names import SHIPPED
from dsmooth.denoisers.saving import save_denoiser
from dsmooth.denoisers.unet import UNet
from dsmooth.denoisers.unet_by_noise import UNetByNoise
from dsmooth.errors import BadParameter
from dsmooth.images.opening import open_images
from dsmooth.training.recipe import Recipe
from recipes.experiment import DATA, RUNS, main, teach
from recipes.imagenet_samples import training_images

NETWORK: dict[str, Any] = {
    "architecture": "unet",
    "config": {"widths": [64, 96, 160], "blocks": [2, 2, 2]},
    "sigma_range": (0.08, 0.6),
}
# 2.9 GFLOP for 224 x 224 pixels in place of 13.9: few channels at the finest scale
LIGHT: dict[str, Any] = {
    "config": {
        "widths": [32, 48, 96, 160],
        "blocks": [1, 1, 2, 2],
        "decoder_blocks": [1, 1, 1],
        "shuffle": 2,
        "scaled": True,
    },
    "sigma_range": (0.08, 0.6),
    "sigma_law": "log-uniform",
    "judged": (0.25, 0.5),
    "clip": 1.0,
    "optimizer": "muon",
    "batch": 16,
    "patch": 96,
}
TAUGHT: dict[str, Any] = {**LIGHT, "sigma_range": (0.15, 0.6), "turns": False}
# the same work with a fold of 4 x 4 pixels in place of 2 x 2
FOLDED: dict[str, Any] = {
    **LIGHT,
    "config": {"widths": [64, 96, 128], "blocks": [2, 2, 2], "decoder_blocks": [1, 1], "shuffle": 4, "scaled": True},
}
STABLE: dict[str, Any] = {
    "sigma_range": (0.2, 0.6),
    "surrogates": ("efficientnet-lite1", "efficientnet-lite2"),
    "batch": 8,
    "patch": 160,
    "turns": False,  # classifiers know which side is up
    "average": 0.998,
    "optimizer": "adamw",
}
LIGHT_STABLE: dict[str, Any] = {**LIGHT, **STABLE}
LARGE_PATCHES: dict[str, Any] = {**LIGHT_STABLE, "batch": 4, "patch": 224}
WEAK: dict[str, Any] = {"sigma_range": (0.2, 0.3)}

RECIPES: dict[str, Recipe] = {
    # the first third of a long schedule, at a high learning rate; then a shorter descent to zero from there
    "photo-1": Recipe(**NETWORK, steps=7_000, horizon=22_000, lr=1e-3, batch=16, patch=64, seed=1),
    "photo": Recipe(**NETWORK, steps=6_000, lr=5e-4, batch=16, patch=64, seed=2),
    "photo-stab": Recipe(**{**NETWORK, **STABLE}, objective="stab + 5 mse", minutes=60.0, lr=1e-4),
    "photo-light-1": Recipe(**LIGHT, minutes=40.0, lr=1e-3, seed=1),
    # what photo-stab makes of the noisy image, in place of the clean one
    "photo-light-2": Recipe(**TAUGHT, minutes=32.0, lr=5e-4, seed=7),
    "photo-light-3": Recipe(**TAUGHT, minutes=32.0, lr=1e-3, seed=9),
    "photo-light-strong-1": Recipe(**LIGHT_STABLE, objective="stab + 20 mse", minutes=25.0, lr=1e-4, seed=11),
    "photo-light-strong-2": Recipe(**LIGHT_STABLE, objective="stab + 40 mse", minutes=32.0, lr=1e-4, seed=13),
    "photo-light-strong-3": Recipe(**LARGE_PATCHES, objective="stab + 20 mse", minutes=26.0, lr=1e-4, seed=11),
    "photo-light-weak-1": Recipe(**{**TAUGHT, **WEAK}, minutes=25.0, lr=5e-4, seed=23),
    "photo-light-weak-2": Recipe(**{**LIGHT_STABLE, **WEAK}, objective="stab + 20 mse", minutes=25.0, lr=1e-4, seed=25),
    "photo-light-weak-3": Recipe(
        **{**LARGE_PATCHES, **WEAK}, objective="stab + 20 mse", minutes=25.0, lr=1e-4, seed=27
    ),
    "photo-l1-1": Recipe(**FOLDED, minutes=40.0, lr=1e-3, seed=1),
    # first the squared error alone, since the noise is another
    "photo-l1": Recipe(
        **{**FOLDED, **STABLE, "sigma_range": (0.14, 0.3), "judged": (0.145, 0.29)},
        objective="stab + 20 mse",
        noise="splitting",
        alone=0.6,
        minutes=25.0,
        lr=5e-4,
        seed=3,
    ),
}
STARTS = {
    "photo": "photo-1",
    "photo-stab": "photo",
    "photo-light-2": "photo-light-1",
    "photo-light-3": "photo-light-2",
    "photo-light-strong-1": "photo-light-3",
    "photo-light-strong-2": "photo-light-strong-1",
    "photo-light-strong-3": "photo-light-3",
    "photo-light-weak-1": "photo-light-3",
    "photo-light-weak-2": "photo-light-weak-1",
    "photo-light-weak-3": "photo-light-weak-1",
    "photo-l1": "photo-l1-1",
}
MEANS = {
    "strong": (*(f"photo-light-strong-{part}" for part in (1, 2, 3)), "photo-light-3"),
    "weak": tuple(f"photo-light-weak-{part}" for part in (1, 2, 3)),
}
"""The trainings whose ends `photo-light` has the means of."""
LIGHT_NAME = "photo-light"
TEACHERS = dict.fromkeys(("photo-light-2", *MEANS["strong"], *MEANS["weak"]), "photo-stab")
HALFWAY = ("photo-stab", "photo-light-strong-1")
STORY = (
    "400 photographs of BSDS500 (train and test; for research and education) and 1,000 ImageNet images (for research), "
    "random crops"
)


def learn(name: str, /, *, minutes: float | None = None, compiled: bool = False) -> None:
    """Train the denoiser NAME into runs/NAME; before it the one that it starts from, unless that is in runs/ or ships."""
    names = (*RECIPES, LIGHT_NAME)
    if name not in names:
        raise BadParameter(f"expected one of {', '.join(names)}, got {name!r}")
    if name == LIGHT_NAME and minutes is not None:
        raise BadParameter(
            f"--minutes is for one training, and {name} is made of several: pass it with {MEANS['weak'][-1]}"
        )
    found = joined(compiled) if name == LIGHT_NAME else denoiser(name, minutes, compiled)
    print(f"denoiser: {found}")


def denoiser(name: str, minutes: float | None = None, compiled: bool = False) -> Path:
    """The trained weights of that name."""
    recipe, out = RECIPES[name], RUNS / name
    if minutes is not None:
        recipe = replace(recipe, minutes=minutes)
    if name in STARTS:
        recipe = replace(recipe, start=start_of(STARTS[name], compiled))
    if name in TEACHERS:
        recipe = replace(recipe, teacher=start_of(TEACHERS[name], compiled))
    sets = [training_images()]
    if name != "photo-stab":
        sets.insert(0, open_images(DATA / "photos" / "bsds500_train_test_400.zip"))
    found = teach(recipe, sets, out, data=STORY, every=500, compiled=compiled)
    return halfway(recipe.start or "", found) if name in HALFWAY else found


def start_of(name: str, compiled: bool) -> str:
    """Weights trained here, shipped ones, or weights that are trained now."""
    here = RUNS / name / ("halfway.safetensors" if name in HALFWAY else "model.safetensors")
    if here.exists():
        return str(here)
    return name if name in SHIPPED else str(denoiser(name, compiled=compiled))


def joined(compiled: bool) -> Path:
    """The file with `photo-light`: the mean of either kind, and of that for weak noise the finest scales."""
    ends = {name: end_of(name, compiled) for names in MEANS.values() for name in names}
    networks = {name: load_denoiser(end) for name, end in ends.items()}
    means = {kind: UNet(**LIGHT["config"]) for kind in MEANS}
    for kind, names in MEANS.items():
        means[kind].load_state_dict(mean_weights([networks[name] for name in names]))
    made = UNetByNoise.joined(means["weak"], means["strong"], border=WEAK["sigma_range"][1])
    made.sigma_range = TAUGHT["sigma_range"]
    parts = {
        name: {"digest": part.digest(), **{key: value for key, value in part.metrics.items() if key != "recipe"}}
        for name, part in networks.items()
    }
    metrics = {"means_of": MEANS, "parts": parts, "recipe": networks[MEANS["strong"][0]].metrics["recipe"]}
    out = RUNS / LIGHT_NAME / "model.safetensors"
    save_denoiser(made, out, data=STORY, metrics=metrics)
    return out


def end_of(name: str, compiled: bool) -> Path:
    """The weights at the end of that training, which goes on first where it has not come to its end."""
    end = RUNS / name / "model.safetensors"
    if not end.exists():
        denoiser(name, compiled=compiled)
    return end


def halfway(start: str, end: Path) -> Path:
    """The file beside `end` with the mean of the weights of both."""
    middle, other = load_denoiser(start), load_denoiser(end)
    metrics = {
        "mean_of_weights": {"start": middle.digest(), "end": other.digest()},
        "end": {name: value for name, value in other.metrics.items() if name != "recipe"},  # what was measured there
        "recipe": other.metrics["recipe"],
    }
    middle.load_state_dict(mean_weights([middle, other]))
    out = end.with_name("halfway.safetensors")
    save_denoiser(middle, out, data=STORY, metrics=metrics)
    return out


def mean_weights(networks: Sequence[Denoiser]) -> dict[str, Tensor]:
    """The mean of the weights of networks of one shape, for `load_state_dict`."""
    states = [network.state_dict() for network in networks]
    return {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.photo_denoisers", help=__doc__)
    app.default(learn)
    main(app)
