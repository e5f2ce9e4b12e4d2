"""Train a denoiser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from dsmooth.cli.options import FLAG, MANY, Whole
from dsmooth.console import Bar, say

__all__ = ["train"]


def train(
    images: Annotated[list[Path], MANY],
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    data: str = "unspecified",
    architecture: Literal["unet", "dncnn", "ffdnet"] = "unet",
    widths: Annotated[list[int], MANY] = [64, 96, 160],  # noqa: B006
    blocks: Annotated[list[int], MANY] = [2, 2, 2],  # noqa: B006
    shuffle: Whole = 2,
    sigma_min: float = 0.1,
    sigma_max: float = 0.6,
    steps: Whole = 30_000,
    batch: Whole = 16,
    patch: Whole = 64,
    turns: bool = True,
    zoom: bool = True,
    lr: float = 1e-3,
    seed: Whole = 0,
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed",
    start: str | None = None,
    every: Whole = 1000,
    resume: Annotated[bool, FLAG] = False,
) -> None:
    """Train a denoiser on images (mean squared error); needs no labels and no classifier.

    The result is OUT/model.safetensors: weights that say what they are, for `--denoiser OUT`. Every 40th image is held
    out and judges the training. Interrupted, the same command with --resume goes on from the last checkpoint.

    Examples:

        dsmooth train photos/ more-photos.zip --sigma-min 0.1 --sigma-max 0.6 --out denoisers/photo

        dsmooth train photos/ --steps 200 --every 100 --out /tmp/quick

    Parameters
    ----------
    images: list[Path]
        Folders or zips of images, CIFAR-10 .bin files or .npz; each is drawn from equally often.
    out: Path
        Where checkpoints, metrics.jsonl and model.safetensors go.
    data: str
        What the images are and under which licence, in words, for the file's header.
    architecture: Literal["unet", "dncnn", "ffdnet"]
        unet and ffdnet are told sigma; dncnn is blind to it.
    widths: list[int]
        unet: channels at each scale.
    blocks: list[int]
        unet: residual blocks at each scale.
    shuffle: int
        unet: fold so many pixels a side into channels first; 2 for photographs, 1 for 32-pixel images.
    sigma_min: float
        Least noise trained for.
    sigma_max: float
        Most noise trained for.
    steps: int
        Steps of the optimiser.
    batch: int
        Patches a step.
    patch: int
        Pixels a side of a patch.
    turns: bool
        Quarter turns of patches, for images without an up.
    zoom: bool
        Half of the patches from up to twice their size, where images are large enough.
    lr: float
        Peak of the learning rate (AdamW; warm-up, then a cosine to zero).
    seed: int
        Decides initial weights, patches and noise.
    precision: Literal["bf16-mixed", "32-true"]
        bf16-mixed is several times faster on recent CPUs and GPUs.
    start: str | None
        A denoiser (name, folder or file) to go on from, in place of random weights.
    every: int
        Steps between checkpoints.
    resume: bool
        Go on with the training in --out.
    """
    from dsmooth.images import open_images
    from dsmooth.theory.bounds import check_count
    from dsmooth.training.loop import Recipe, Report
    from dsmooth.training.loop import train as run_training

    config: dict[str, Any] = {}
    if architecture == "unet":
        config = {"widths": widths, "blocks": blocks, "shuffle": shuffle}
    recipe = Recipe(
        architecture=architecture,
        config=config,
        sigma_range=(sigma_min, sigma_max),
        steps=steps,
        batch=batch,
        patch=patch,
        turns=turns,
        zoom=zoom,
        lr=lr,
        seed=seed,
        precision=precision,
        start=start,
    )
    check_count(every, "every")
    sets = [open_images(path) for path in images]
    with Bar("train", steps, "steps") as bar:

        def show(report: Report) -> None:
            bar.to(report.step, f"loss {report.loss:.5f}")
            if report.psnr is not None:
                quality = ", ".join(f"{value:.2f} dB at sigma {sigma}" for sigma, value in report.psnr.items())
                bar.say(f"step {report.step}: loss {report.loss:.5f}, held out {quality}")

        path = run_training(recipe, sets, out, data=data, resume=resume, every=every, on_report=show)
    middle = (sigma_min + sigma_max) / 2
    say(f"denoiser: {path}", f"next: dsmooth certify IMAGES -c CLASSIFIER -d {out} --sigma {middle:.2g} --out RUN")
