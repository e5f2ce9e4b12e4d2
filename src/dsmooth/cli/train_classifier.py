"""Train a classifier on noisy images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dsmooth.cli.options import FLAG, Whole
from dsmooth.console import say, training_bar

__all__ = ["train_classifier"]


def train_classifier(
    images: Path,
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    sigma: Annotated[float, Parameter(alias="-s")] = 0.25,
    depth: Whole = 20,
    steps: Whole = 20_000,
    minutes: float | None = None,
    batch: Whole = 256,
    lr: float = 1e-3,
    seed: Whole = 0,
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed",
    every: Whole = 1000,
    resume: Annotated[bool, FLAG] = False,
) -> None:
    """Train a CIFAR ResNet on noisy images, to be certified without a denoiser (Cohen et al. 2019).

    The result is OUT/model.safetensors, for `-c cifar:resnet20@OUT/model.safetensors -d none`. Every 40th image is held
    out for validation. After an interruption, run the same command with --resume to continue from the last checkpoint.

    Examples:

        dsmooth train-classifier cifar10_train.npz --sigma 0.25 --out classifiers/noisy

    Parameters
    ----------
    images: Path
        Labelled images of 32 x 32 pixels: an .npz, a CIFAR-10 binary folder (its training batches) or .bin file, or a folder
        with subfolders named by class (airplane, ..., truck) or number.
    out: Path
        Folder for checkpoints, metrics.jsonl and model.safetensors.
    sigma: float
        Noise level: standard deviation, with pixels in [0, 1].
    depth: int
        Layers of the ResNet: 20, 32, 44, 56 or 110.
    steps: int
        Steps of the optimiser.
    minutes: float
        Train for this many minutes, instead of --steps.
    batch: int
        Images per step.
    lr: float
        Peak learning rate (AdamW; warm-up, then cosine decay to zero).
    seed: int
        Seed of initial weights, images and noise.
    precision: Literal["bf16-mixed", "32-true"]
        bf16-mixed is several times faster on recent CPUs and GPUs.
    every: int
        Steps between evaluations, each with a checkpoint; there is also a checkpoint every minute.
    resume: bool
        Continue the training in --out.
    """
    from dsmooth.classifiers.cifar_resnet import CIFAR10_NAMES
    from dsmooth.images.opening import open_images
    from dsmooth.theory.bounds import check_count
    from dsmooth.training.classifying import ClassifierRecipe
    from dsmooth.training.classifying import train_classifier as run_training
    from dsmooth.training.learning_curve import draw_learning_curve

    recipe = ClassifierRecipe(
        depth=depth,
        sigma=sigma,
        steps=steps,
        minutes=minutes,
        batch=batch,
        lr=lr,
        seed=seed,
        precision=precision,
    )
    check_count(every, "every")
    chosen = open_images(images, class_names=CIFAR10_NAMES, training=True)
    with training_bar(recipe) as show:
        path = run_training(recipe, chosen, out, resume=resume, every=every, on_report=show)
    say(
        f"classifier: {path}",
        f"learning curve: {draw_learning_curve(out)}",
        f"next: dsmooth certify IMAGES -c cifar:resnet{depth}@{path} -d none --sigma {sigma:g} --out RUN",
    )
