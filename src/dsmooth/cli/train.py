"""Train a denoiser."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dsmooth.cli.options import FLAG, MANY, Whole, tell_passed_over
from dsmooth.console import note, say, training_bar
from dsmooth.denoisers.names import ARCHITECTURES
from dsmooth.training.recipe import Recipe

if TYPE_CHECKING:
    from dsmooth.images.sets import ImageSet

__all__ = ["train"]

_UNET: dict[str, Any] = {"widths": [64, 96, 160], "blocks": [2, 2, 2], "shuffle": 2}
_NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", _UNET),
    "unet-by-noise": ("unet-by-noise", _UNET),
    "dncnn": ("dncnn", {"norm": True}),
    "dncnn-wide": ("dncnn", {"width": 128, "norm": True}),
}

if TYPE_CHECKING:
    Architecture = str
else:
    Architecture = Literal[tuple(dict.fromkeys([*_NETWORKS, *ARCHITECTURES]))]

_COLOUR = 3  # channels
_MOST_PROCESSES = 1024
_UNSEEN = Parameter(parse=False)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class _Options(Recipe):
    """The recipe as options; its fields are documented where they are, and only what differs here is said again."""

    steps: Whole = Recipe.steps
    batch: Whole = Recipe.batch
    patch: Whole = Recipe.patch
    padding: Whole | None = Recipe.padding
    seed: Whole = Recipe.seed
    surrogates: Annotated[tuple[str, ...], Parameter(name="--surrogate"), MANY] = ()
    judged: Annotated[tuple[float, ...], MANY] = ()
    clip: float | None = Recipe.clip
    """Clip gradients to this l2 norm over all weights, so that rare outlier batches do not upset the training; 0: off."""
    # of the parameters of `train`:
    architecture: Annotated[str, _UNSEEN] = Recipe.architecture
    config: Annotated[dict[str, Any], _UNSEEN] = field(default_factory=dict)
    sigma_range: Annotated[tuple[float, float], _UNSEEN] = Recipe.sigma_range
    horizon: Annotated[int | None, _UNSEEN] = None

    def __post_init__(self) -> None:
        if self.clip == 0.0:
            object.__setattr__(self, "clip", None)
        super().__post_init__()


def train(
    images: Annotated[list[Path], MANY],
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    data: str = "unspecified",
    labels: Path | None = None,
    architecture: Architecture | None = None,
    widths: Annotated[list[int] | None, MANY] = None,
    blocks: Annotated[list[int] | None, MANY] = None,
    decoder_blocks: Annotated[list[int] | None, MANY] = None,
    shuffle: Whole | None = None,
    scaled: Annotated[bool, FLAG] = False,
    classes: Whole | None = None,
    norm: Annotated[bool, FLAG] = False,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    recipe: _Options | None = None,
    every: Whole = 1000,
    compiled: Annotated[bool, FLAG] = False,
    processes: Whole = 1,
    resume: Annotated[bool, FLAG] = False,
) -> None:
    """Train a denoiser on images, for the squared error or through frozen classifiers.

    The result is OUT/model.safetensors, a self-describing weights file for `--denoiser OUT`; OUT/learning_curve.svg shows
    how the training went. Every 40th image is held out for validation. After an interruption, run the same command with
    --resume to continue from the last checkpoint. Uses a GPU if there is one.

    Examples:

        dsmooth train photos/ more-photos.zip --sigma-min 0.1 --sigma-max 0.6 --out denoisers/photo

        dsmooth train photos/ --steps 200 --every 100 --out /tmp/quick

        dsmooth train cifar-10-batches-bin/ --padding 4 --start cifar10-mse --objective "stab + 2.5 mse"
        --surrogate cifar:resnet20@resnet20.safetensors --temperature 4 --lr 2e-4 --out denoisers/black

        dsmooth train photos/ --start photo --objective "stab + 10 mse" --surrogate timm:resnet18 timm:resnet34 --lr 3e-5
        --patch 224 --turns=False --out denoisers/stab

    Parameters
    ----------
    images: list[Path]
        Folders or zips of images, a CIFAR-10 binary folder (its training batches), .bin files or .npz; each is sampled
        equally often. Subfolders are labels as in `certify`: named after classes of the first surrogate, or numbered.
    out: Path
        Folder for checkpoints, metrics.jsonl and model.safetensors.
    data: str
        A description of the images and their licence, for the header of the weights file.
    labels: Path
        CSV with the columns file and label, to choose and label the images; for one folder or zip.
    architecture: Architecture | None
        unet and ffdnet take sigma as an input; unet-by-noise also has weights of its own for sigma below .3; dncnn and
        memnet do not know sigma. By default that of --start, or unet.
    widths: list[int]
        unet: channels at each scale, finest first; 64 96 160 by default.
    blocks: list[int]
        unet: residual blocks at each scale; 2 each by default.
    decoder_blocks: list[int]
        unet: residual blocks of the decoder, at each scale but the coarsest; by default as in the encoder.
    shuffle: int
        unet: pixel-unshuffle factor of the input; 2 for photographs (the default), 1 for 32-pixel images.
    scaled: bool
        unet: scale input and output by the noise level, for ranges of sigma over several octaves.
    classes: int
        unet: add a head for this many classes at the coarsest scale, whose prediction conditions the decoder; trained by the
        objective term head.
    norm: bool
        unet: use batch normalisation; a class head learns faster with it.
    sigma_min: float
        Smallest noise level to train for; by default that of --start, or 0.1.
    sigma_max: float
        Largest noise level to train for; by default that of --start, or 0.6.
    every: int
        Steps between evaluations, each with a checkpoint; there is also a checkpoint every minute.
    compiled: bool
        Compile the networks with torch.compile: faster, after a minute or two of compilation.
    processes: int
        Split each batch among this many processes on this machine, one per GPU if there are any; under torchrun, as many as
        it starts. The weights equal those of one process up to rounding.
    resume: bool
        Continue the training in --out; the number of processes may differ.
    """
    from dsmooth.denoisers.loading import load_denoiser
    from dsmooth.errors import BadParameter
    from dsmooth.theory.bounds import check_count
    from dsmooth.training.denoising import train as run_training
    from dsmooth.training.learning_curve import draw_learning_curve
    from dsmooth.training.loop import is_first
    from dsmooth.training.usefulness import usefulness, yardstick

    recipe = _Options() if recipe is None else recipe
    shape = {
        "widths": widths,
        "blocks": blocks,
        "decoder_blocks": decoder_blocks,
        "shuffle": shuffle,
        "scaled": scaled or None,
        "classes": classes,
        "norm": norm or None,
    }
    check_count(every, "every")
    speaks = is_first(check_count(processes, "processes", most=_MOST_PROCESSES))
    if labels is not None and len(images) != 1:
        raise BadParameter(f"--labels chooses the images of one folder or zip, got {len(images)} of them")
    name, config, trained = _network(
        architecture, {key: value for key, value in shape.items() if value is not None}, recipe.start
    )
    low, high = trained or Recipe.sigma_range
    low, high = low if sigma_min is None else sigma_min, high if sigma_max is None else sigma_max
    chosen = replace(recipe, architecture=name, config=config, sigma_range=(low, high))
    sets = _training_sets(images, labels, chosen)
    if "channels" not in config and (channels := sets[0][0].pixels.shape[2]) != _COLOUR:
        chosen = replace(chosen, config={**config, "channels": channels})
    if speaks and (idle := _idle(chosen)):
        note(f"{', '.join(idle)}: without effect on the objective {chosen.objective!r}")
    compared = yardstick(chosen, sets)
    if compared is not None and speaks:
        note(f"for comparison: the shipped {compared[0]} was trained for {compared[1]} minutes on at most two cores")
    with training_bar(chosen) if speaks else nullcontext(lambda report: None) as show:
        path = run_training(
            chosen,
            sets,
            out,
            data=data,
            resume=resume,
            every=every,
            compiled=compiled,
            processes=processes,
            on_report=show,
        )
    if not speaks:
        return
    quality = usefulness(load_denoiser(path), chosen, sets)
    say(
        f"denoiser: {path}",
        *([] if quality is None else [f"quality: {quality}"]),
        f"learning curve: {draw_learning_curve(out)}",
        f"next: dsmooth certify IMAGES -c CLASSIFIER -d {out} {_noise_options(chosen)} --out RUN",
    )


def _noise_options(recipe: Recipe) -> str:
    """The options of certify for the noise that was trained for, in the middle of its range."""
    from dsmooth.denoisers.trained_for import law_for

    told = law_for(asdict(recipe), float(f"{sum(recipe.sigma_range) / 2:.2g}")).to_json()
    name = told.pop("name")
    named = [] if "sigma" in told else [f"--noise {name}"]
    given = [f"--{name} {value:g}" for name, value in told.items() if value]
    return " ".join([*named, *given, *["--mirror"] * recipe.mirrored])


def _network(
    architecture: str | None, shape: dict[str, Any], start: str | None
) -> tuple[str, dict[str, Any], tuple[float, float] | None]:
    """Architecture, configuration and range of sigma: those of `start` where nothing else was said."""
    from dsmooth.denoisers.loading import load_denoiser
    from dsmooth.errors import BadParameter

    source = None if start is None else load_denoiser(start)
    trained = None if source is None else source.sigma_range
    if source is not None and source.architecture not in ARCHITECTURES:
        raise BadParameter(f"--start: expected a denoiser with weights ({ARCHITECTURES}), got {start}")
    wanted = architecture or (source.architecture if source is not None else "unet")
    if shape and wanted not in ("unet", "unet-by-noise"):
        raise BadParameter(
            f"--{next(iter(shape)).replace('_', '-')} is for a unet, and the architecture is {wanted}: leave it out"
        )
    if source is not None and architecture in (None, source.architecture):
        return source.architecture, {**source.config, **shape}, trained
    name, config = _NETWORKS.get(wanted, (wanted, {}))
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
            tell_passed_over(path, sets[-1])
        except BadImage as error:
            if names is None or Objective.parse(recipe.objective).needs_labels:
                raise
            sets.append(open_images(path, labels=labels, training=True).without_labels())
            note(f"continuing without labels, which {recipe.objective} does not need: {error}")
    if names is None and Objective.parse(recipe.objective).needs_labels:
        _check_same_classes(images, sets)
    return sets


def _check_same_classes(paths: list[Path], sets: list[ImageSet]) -> None:
    """Raises BadImage where two sets number different subfolders alike: each numbers its own, from 0."""
    from dsmooth.errors import BadImage
    from dsmooth.images.labels import class_folders

    known: list[tuple[str, Path]] = []
    for path, images in zip(paths, sets, strict=True):
        folders = class_folders(images.names, images.labels)
        for number, (folder, (other, where)) in enumerate(zip(folders, known, strict=False)):
            if folder != other:
                raise BadImage(
                    f"expected the same class subfolders in all sets, but class {number} is {other} in {where} and "
                    f"{folder} in {path}: put the images into one folder, or name a surrogate that knows the names"
                )
        known += [(folder, path) for folder in folders[len(known) :]]


def _idle(recipe: Recipe) -> list[str]:
    """The options that were given and change nothing in this training."""
    from dsmooth.training.objectives import Objective

    objective = Objective.parse(recipe.objective)
    effective = {
        "temperature": objective.asks_classifier,
        "cut": objective.asks_classifier,
        "alone": objective.asks_classifier,
        "mirrored": bool(recipe.surrogates),
        "label_smoothing": objective.needs_labels,
        "patch": recipe.padding is None,
    }
    names = (name for name, used in effective.items() if not used and getattr(recipe, name) != getattr(Recipe(), name))
    return ["--" + name.replace("_", "-") for name in names]
