"""Small diffusion models in the format of EDM's networks, trained without labels and without a classifier.

    python -m recipes.diffusion_models digits     after python -m recipes.digits
    python -m recipes.diffusion_models cifar10

train DDPM++ by the loss of Karras et al. 2022 and write runs/NAME-edm.safetensors. As a denoiser such a model is asked once
(Carlini et al. 2023): -d edm:runs/digits-edm.safetensors. Interrupted, the same command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import cyclopts
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from dsmooth.console import training_bar
from dsmooth.denoisers.diffusion import Diffusion
from dsmooth.denoisers.song_unet import SongUNet
from dsmooth.errors import BadParameter
from dsmooth.images.opening import open_images
from dsmooth.images.sets import ImageSet
from dsmooth.training.batches import image_batches
from dsmooth.training.checkpoints import TrainingFolder
from dsmooth.training.held_out import split
from dsmooth.training.judging import Judged
from dsmooth.training.loop import descend, fabric_for, generator
from dsmooth.training.recipe import Recipe
from recipes import cifar10
from recipes.experiment import RUNS, main

LOG_MEAN, LOG_SPREAD = -1.2, 1.2  # of the noise, in units of [-1, 1] (Karras et al., table 1)
SHARED: dict[str, Any] = {"lr": 2e-3, "schedule": "linear", "clip": 1.0, "judged": (0.25, 0.5, 1.0)}


@dataclass(frozen=True)
class Model:
    """What is trained on which images."""

    images: Callable[[], ImageSet]
    network: dict[str, Any]
    """The arguments of SongUNet, as EDM's files have them."""
    recipe: Recipe
    """How; but sigma is drawn by the law of the loss."""


MODELS = {
    "digits": Model(
        lambda: open_images(RUNS / "digits_train.npz"),
        {"img_resolution": 8, "model_channels": 32, "channel_mult": [1, 2], "num_blocks": 2, "attn_resolutions": [4]},
        Recipe(**SHARED, steps=2000, batch=64, padding=1, mirror=False, precision="32-true"),
    ),
    "cifar10": Model(
        cifar10.training_images,
        {
            "img_resolution": 32,
            "model_channels": 32,
            "channel_mult": [1, 2, 2],
            "num_blocks": 2,
            "attn_resolutions": [8],
        },
        Recipe(**SHARED, steps=4000, batch=64, padding=4),
    ),
}


def learn(name: str, /, *, steps: int | None = None) -> None:
    """Train the model NAME, for so many STEPS where the recipe's are not wanted, and write it."""
    if name not in MODELS:
        raise BadParameter(f"expected one of {', '.join(MODELS)}, got {name!r}")
    images, network = MODELS[name].images(), MODELS[name].network
    recipe = MODELS[name].recipe if steps is None else replace(MODELS[name].recipe, steps=steps)
    fabric = fabric_for(recipe)
    (training,), held_out = split([images])
    channels = held_out[0].pixels.shape[2]
    spread = 2 * float(torch.from_numpy(np.stack([image.pixels for image in held_out]) / 255).std())
    torch.manual_seed(recipe.seed)
    denoiser = Diffusion(
        SongUNet(in_channels=channels, out_channels=channels, **network),
        "edm",
        spread=spread,
        channels=channels,
        multiple=2 ** (len(network["channel_mult"]) - 1),
    )
    folder = TrainingFolder(RUNS / f"{name}-edm")
    told = json.loads(json.dumps({**asdict(recipe), "network": network, "images": images.fingerprint}))
    folder.claim(told, resume=True)
    folder.open(told)
    batches = image_batches(recipe, recipe.batch, [training], fabric.device)
    judged = Judged(held_out, recipe.seed, fabric.device)

    def loss(estimate: Any, step: int, progress: float) -> Tensor:
        drawn = generator(fabric.device, recipe.seed, step)
        x, _ = batches(step, drawn)
        s = (LOG_MEAN + LOG_SPREAD * torch.randn(len(x), generator=drawn, device=x.device)).exp()
        noise = torch.randn(x.shape, generator=drawn, device=x.device)
        error = 2 * (estimate(x + s.view(-1, 1, 1, 1) / 2 * noise, s / 2) - x)
        weights = (s**2 + spread**2) / (s * spread) ** 2
        return (weights * error.square().mean(dim=(1, 2, 3))).mean()

    def judge(average: Diffusion) -> dict[str, Any]:
        with torch.inference_mode(), fabric.autocast():
            return judged.scores(average.denoise, recipe.judged_at, {})

    with training_bar(recipe) as show:
        average, _ = descend(
            fabric, denoiser, recipe, folder, loss=loss, judge=judge, every=500, resume=True, on_report=show
        )
    facts = {
        "class": "EDMPrecond",
        "model_type": "SongUNet",
        "img_channels": channels,
        "label_dim": 0,
        "sigma_data": spread,
    }
    arrays = {f"model.{key}": value.contiguous() for key, value in average.network.state_dict().items()}
    path = RUNS / f"{name}-edm.safetensors"
    save_file(arrays, path, metadata={"edm": json.dumps({**facts, **network})})
    print(f"denoiser: edm:{path}")


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.diffusion_models", help=__doc__)
    app.default(learn)
    main(app)
