"""Train a denoiser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dsmooth.cli.options import FLAG, MANY, Whole
from dsmooth.console import note, say, training_bar

if TYPE_CHECKING:
    from dsmooth.images import ImageSet
    from dsmooth.training.recipe import Recipe

__all__ = ["train"]

_NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"widths": [64, 96, 160], "blocks": [2, 2, 2], "shuffle": 2}),
    "dncnn": ("dncnn", {"norm": True}),
    "dncnn-wide": ("dncnn", {"width": 128, "norm": True}),
}


def train(
    images: Annotated[list[Path], MANY],
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    data: str = "unspecified",
    objective: str = "mse",
    surrogate: Annotated[list[str] | None, MANY] = None,
    temperature: float = 1.0,
    labels: Path | None = None,
    architecture: Literal["unet", "dncnn", "dncnn-wide", "memnet", "ffdnet"] | None = None,
    widths: Annotated[list[int] | None, MANY] = None,
    blocks: Annotated[list[int] | None, MANY] = None,
    shuffle: Whole | None = None,
    scaled: Annotated[bool, FLAG] = False,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    sigma_law: Literal["uniform", "log-uniform"] = "uniform",
    steps: Whole = 30_000,
    minutes: float | None = None,
    batch: Whole = 16,
    patch: Whole = 64,
    turns: bool = True,
    zoom: bool = True,
    padding: Whole | None = None,
    distort: float = 0.0,
    optimizer: Literal["adamw", "adam", "adam-then-sgd"] = "adamw",
    lr: float = 1e-3,
    schedule: Literal["cosine", "stepped"] = "cosine",
    weight_decay: float = 1e-4,
    clip: float = 0.1,
    average: float = 0.999,
    seed: Whole = 0,
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed",
    start: str | None = None,
    every: Whole = 1000,
    compiled: Annotated[bool, FLAG] = False,
    resume: Annotated[bool, FLAG] = False,
) -> None:
    """Train a denoiser on images: for the squared error, or through classifiers that are left as they are.

    The result is OUT/model.safetensors, weights that say what they are, for `--denoiser OUT`; OUT/learning_curve.svg shows
    how it went. Every 40th image is held out and judges the training. Interrupted, the same command with --resume goes on
    from the last checkpoint. It runs on a GPU where there is one.

    Examples:

        dsmooth train photos/ more-photos.zip --sigma-min 0.1 --sigma-max 0.6 --out denoisers/photo

        dsmooth train photos/ --steps 200 --every 100 --out /tmp/quick

        dsmooth train cifar-10-batches-bin/ --padding 4 --start cifar10-mse --objective "clf + 2.5 mse"
        --surrogate cifar:resnet56@resnet56.safetensors --temperature 4 --lr 2e-4 --out denoisers/white

        dsmooth train photos/ --start photo --objective "stab + 10 mse" --surrogate timm:resnet18 timm:resnet34 --lr 3e-5
        --patch 224 --turns=False --out denoisers/stab

    Parameters
    ----------
    images: list[Path]
        Folders or zips of images, a CIFAR-10 binary folder (its training batches), .bin files or .npz; each is drawn from
        equally often. Sub-folders are labels as in `certify`: named by class of the first surrogate or by number.
    out: Path
        Where checkpoints, metrics.jsonl and model.safetensors go.
    data: str
        What the images are and under which licence, in words, for the file's header.
    objective: str
        mse (squared error); stab (the classifier's own answers on clean images; no labels); clf (true labels); or a
        weighted sum such as "clf + 30 mse"; in a sum, cons too (the same answer under two draws of the noise). To fine-tune
        an mse denoiser, name it with --start.
    surrogate: list[str]
        Classifiers that stab and clf ask, in turn, and that judge held-out images: the forms of `certify -c` but for
        onnx. Name the classifier to protect, or, where only queries to it are possible, others.
    temperature: float
        What the logits of surrogates are divided by; 4 serves strong noise better than 1.
    labels: Path
        CSV with the columns file and label, to choose and label the images; for one folder or zip.
    architecture: Literal["unet", "dncnn", "dncnn-wide", "memnet", "ffdnet"]
        unet and ffdnet are told sigma; dncnn and memnet are blind to it. By default that of --start, or unet.
    widths: list[int]
        unet: channels at each scale; 64 96 160 by default.
    blocks: list[int]
        unet: residual blocks at each scale; 2 each by default.
    shuffle: int
        unet: fold so many pixels a side into channels first; 2 for photographs (the default), 1 for 32-pixel images.
    scaled: bool
        unet: input and answer in units of the noise, for ranges of sigma of several octaves.
    sigma_min: float
        Least noise trained for; by default that of --start, or 0.1.
    sigma_max: float
        Most noise trained for; by default that of --start, or 0.6.
    sigma_law: Literal["uniform", "log-uniform"]
        How sigma is drawn for each image: log-uniform gives each octave the same share.
    steps: int
        Steps of the optimiser.
    minutes: float
        Train so many minutes, in place of --steps.
    batch: int
        Patches a step.
    patch: int
        Pixels a side of a patch.
    turns: bool
        Quarter turns of patches, for images without an up.
    zoom: bool
        Half of the patches from up to twice their size, where images are large enough.
    padding: int
        Whole images of one size, moved by up to so many pixels, in place of patches: 4 for 32-pixel images.
    distort: float
        With --padding: images are also turned (radians), scaled and changed in contrast by up to so much, 0.1 for example.
    optimizer: Literal["adamw", "adam", "adam-then-sgd"]
        adam-then-sgd goes on with momentum SGD after five ninths.
    lr: float
        Peak of the learning rate.
    schedule: Literal["cosine", "stepped"]
        cosine: warm-up, then down to zero; stepped: a tenth after each third.
    weight_decay: float
        Of the optimiser.
    clip: float
        Longest gradient; 0 clips nothing.
    average: float
        Decay of the moving average of the weights, which is what is kept; 0 keeps the last weights.
    seed: int
        Decides initial weights, patches and noise.
    precision: Literal["bf16-mixed", "32-true"]
        bf16-mixed is several times faster on recent CPUs and GPUs.
    start: str | None
        A denoiser (name, folder or file) to go on from, in place of random weights.
    every: int
        Steps between evaluations, each with a checkpoint; there is one every minute, too.
    compiled: bool
        Let torch.compile make the networks faster, after a minute or two.
    resume: bool
        Go on with the training in --out.
    """
    from dsmooth.errors import BadParameter
    from dsmooth.theory.bounds import check_count
    from dsmooth.training.denoising import train as run_training
    from dsmooth.training.learning_curve import draw_learning_curve
    from dsmooth.training.recipe import Recipe

    shape = {"widths": widths, "blocks": blocks, "shuffle": shuffle, "scaled": scaled or None}
    name, config, trained = _network(
        architecture, {key: value for key, value in shape.items() if value is not None}, start
    )
    low, high = trained or (0.1, 0.6)
    low, high = low if sigma_min is None else sigma_min, high if sigma_max is None else sigma_max
    recipe = Recipe(
        architecture=name,
        config=config,
        sigma_range=(low, high),
        sigma_law=sigma_law,
        objective=objective,
        surrogates=tuple(surrogate or ()),
        temperature=temperature,
        steps=steps,
        minutes=minutes,
        batch=batch,
        patch=patch,
        turns=turns,
        zoom=zoom,
        padding=padding,
        distort=distort,
        optimizer=optimizer,
        lr=lr,
        schedule=schedule,
        weight_decay=weight_decay,
        clip=clip or None,
        average=average,
        seed=seed,
        precision=precision,
        start=start,
    )
    check_count(every, "every")
    if labels is not None and len(images) != 1:
        raise BadParameter(f"--labels chooses the images of one folder or zip, got {len(images)} of them")
    sets = _training_sets(images, labels, recipe)
    with training_bar(recipe) as show:
        path = run_training(recipe, sets, out, data=data, resume=resume, every=every, compiled=compiled, on_report=show)
    middle = (low + high) / 2
    say(
        f"denoiser: {path}",
        f"learning curve: {draw_learning_curve(out)}",
        f"next: dsmooth certify IMAGES -c CLASSIFIER -d {out} --sigma {middle:.2g} --out RUN",
    )


def _network(
    architecture: str | None, shape: dict[str, Any], start: str | None
) -> tuple[str, dict[str, Any], tuple[float, float] | None]:
    """Architecture, configuration and range of sigma: those of `start` where nothing else was said."""
    from dsmooth.denoisers.loading import load_denoiser
    from dsmooth.errors import BadParameter

    if shape and architecture not in (None, "unet"):
        raise BadParameter(f"--{next(iter(shape))} shapes a unet, and the architecture is {architecture}: leave it out")
    source = None if start is None else load_denoiser(start)
    trained = None if source is None else source.sigma_range
    if source is not None and architecture is None and not shape:
        return source.architecture, source.config, trained
    name, config = _NETWORKS.get(architecture or "unet", (architecture or "unet", {}))
    return name, {**config, **shape}, trained


def _training_sets(images: list[Path], labels: Path | None, recipe: Recipe) -> list[ImageSet]:
    """The images; labels that are not the surrogates' classes are left away where the objective needs none."""
    from dsmooth.errors import BadImage
    from dsmooth.images.opening import open_images
    from dsmooth.training.objectives import Objective
    from dsmooth.training.surrogates import load_surrogates

    names = next((surrogate.class_names for surrogate in load_surrogates(recipe.surrogates[:1])), None)
    sets = []
    for path in images:
        try:
            sets.append(open_images(path, labels=labels, class_names=names, training=True))
        except BadImage as error:
            if names is None or Objective.parse(recipe.objective).classification > 0.0:
                raise
            sets.append(open_images(path, labels=labels, training=True).without_labels())
            note(f"going on without labels, which {recipe.objective} does not need: {error}")
    return sets
