"""The training of a denoiser: which network, on which images, under which noise, for what."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.loading import build, load_denoiser
from dsmooth.denoisers.names import ARCHITECTURES
from dsmooth.denoisers.saving import save_denoiser
from dsmooth.denoisers.trained_for import noise_of
from dsmooth.denoisers.unet import UNet
from dsmooth.errors import BadImage, BadModel, BadParameter
from dsmooth.images.sets import ImageSet
from dsmooth.records.digests import digest_json
from dsmooth.training import losses
from dsmooth.training.batches import image_batches, sigmas
from dsmooth.training.checkpoints import TrainingFolder
from dsmooth.training.corruptions import corruption
from dsmooth.training.held_out import split
from dsmooth.training.judging import LARGEST, Judged
from dsmooth.training.loop import Report, Scores, check_norms, descend, fabric_for, generator, share_of
from dsmooth.training.objectives import Objective
from dsmooth.training.recipe import Recipe
from dsmooth.training.surrogates import Surrogate, load_surrogates, ready

__all__ = ["train"]


def train(
    recipe: Recipe,
    sets: Sequence[ImageSet],
    out: Path,
    *,
    data: str,
    resume: bool = False,
    every: int = 1000,
    compiled: bool = False,
    processes: int = 1,
    on_report: Callable[[Report], None] = lambda report: None,
) -> Path:
    """`out/model.safetensors` holds the averaged weights; `out/metrics.jsonl` the course of the training.

    Every 40th image is held out, and used only for validation every `every` steps. A checkpoint is written then and every
    minute, all or nothing, and the last two are kept; with `resume` the training continues from the newest as if it had
    never stopped (bit for bit on a CPU). A loss that is not finite raises TrainingDiverged and leaves the checkpoints as
    they were. `compiled` passes the denoiser (on a GPU the classifiers too) to torch.compile, which takes a minute first.

    Several `processes` (or torchrun's) share each batch, with the same images and noise as one: the weights equal those of
    one up to rounding, and a training can continue with another number of them. All must be able to read the folder.
    """
    objective = Objective.parse(recipe.objective)
    fabric = fabric_for(recipe, processes, partly=_trains_partly(recipe, objective))
    device: torch.device = fabric.device
    surrogates = load_surrogates(recipe.surrogates, mirrored=recipe.mirrored)
    told = _told(recipe, sets, surrogates)
    folder = TrainingFolder(out)
    folder.claim(told, resume=resume)
    torch.manual_seed(recipe.seed)
    denoiser = _fresh(recipe)
    teacher = _teacher(recipe, denoiser.channels)
    training, held_out = split(sets)
    # classifiers judge what they are asked in training: images whole, or squares of the size of a patch
    largest = LARGEST
    if surrogates:
        largest = recipe.patch if recipe.padding is None else max(sets[0][0].pixels.shape[:2])
    _check_images(sets, denoiser, objective)
    labels = objective.needs_classes
    surrogates = [ready(surrogate, sets, largest, labels) for surrogate in surrogates]
    images = recipe.batch // objective.draws  # each under several draws of the noise
    batches = image_batches(recipe, images, training, device)
    mine = share_of(fabric, images, objective.draws)
    check_norms(fabric, denoiser)
    fabric.barrier()  # all have looked at the folder before the first one writes
    if fabric.global_rank == 0:
        folder.open(told)

    corrupt = corruption(recipe)
    judged = Judged(held_out, recipe.seed, device, largest, corrupt)
    for surrogate in surrogates:
        surrogate.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if teacher is not None:
        teacher.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # on a CPU compiled classifiers are slower: depthwise convolutions lose their layout (3 times, EfficientNet-Lite)
    loss_of = torch.compile(losses.loss) if compiled and device.type == "cuda" else losses.loss
    recognise = _recognise(denoiser, objective)
    if recognise is not None and compiled:
        recognise = torch.compile(recognise)
    alone = objective.without_classifier

    def loss(network: Any, step: int, progress: float) -> Tensor:
        drawn = generator(device, recipe.seed, step)
        clean, labels = batches(step, drawn)
        sigma = sigmas(recipe, images, drawn)
        if objective.draws > 1:
            clean, sigma = clean.repeat(objective.draws, 1, 1, 1), sigma.repeat(objective.draws)
            labels = None if labels is None else labels.repeat(objective.draws)
        noisy = corrupt(clean, sigma.view(-1, 1, 1, 1), drawn).contiguous(memory_format=torch.channels_last)
        clean, sigma, noisy = clean[mine], sigma[mine], noisy[mine]
        labels = None if labels is None else labels[mine]
        now = alone if progress < recipe.alone else objective
        asked = surrogates[step % len(surrogates)].network if now.asks_classifier else None
        if now.adversarial > 0.0:
            assert asked is not None
            assert labels is not None
            with fabric.autocast():  # and not by the wrapper: no gradient is gathered
                noisy = losses.adversarial_noise(
                    lambda seen: asked(denoiser(seen, sigma)) / recipe.temperature, noisy, sigma, labels
                )
        if recognise is None:
            denoised, own = network(noisy, sigma), None
        elif fabric.world_size > 1:
            denoised, own = network.recognise(noisy, sigma)
        else:  # not by the wrapper, which knows of `forward` only
            with fabric.autocast():
                denoised, own = recognise(noisy, sigma)
        with fabric.autocast():
            return loss_of(
                now,
                denoised,
                clean,
                sigma,
                taught=None if teacher is None else _estimate(teacher, noisy, sigma),
                network=asked,
                labels=labels,
                own=own,
                temperature=recipe.temperature,
                cut=recipe.cut,
                label_smoothing=recipe.label_smoothing or 0.0,
            )

    def judge(network: Denoiser) -> Scores:
        with torch.inference_mode(), fabric.autocast():
            answers = {surrogate.name: surrogate.answer for surrogate in surrogates}
            head = _recognise(network, objective)
            return judged.scores(network.denoise, recipe.judged_at, answers, head)

    average, scores = descend(
        fabric,
        denoiser,
        recipe,
        folder,
        loss=loss,
        judge=judge,
        every=every,
        resume=resume,
        compiled=compiled,
        on_report=on_report,
    )
    if fabric.global_rank > 0:
        return out / "model.safetensors"
    metrics = {**{f"{kind}_held_out": value for kind, value in scores.items()}, "recipe": told}
    save_denoiser(average, out / "model.safetensors", data=data, metrics=metrics)
    return out / "model.safetensors"


def _fresh(recipe: Recipe) -> Denoiser:
    """The network at step 0: random, or the weights of `start`.

    `start` may have more or fewer blocks, or another head: what only one of both has is left out, or stays random. What both
    have must be of the same shape.
    """
    denoiser = build(recipe.architecture, recipe.config, recipe.sigma_range)
    if recipe.start is not None:
        source = load_denoiser(recipe.start)
        own, theirs = denoiser.state_dict(), source.state_dict()
        shared = own.keys() & theirs.keys()
        if source.architecture != denoiser.architecture or any(
            own[name].shape != theirs[name].shape for name in shared
        ):
            raise BadModel(
                f"expected {recipe.start} to hold {denoiser.architecture} {denoiser.config}, but for the number of blocks, "
                f"got {source.architecture} {source.config}"
            )
        denoiser.load_state_dict({**own, **{name: theirs[name] for name in shared}})
    return denoiser


def _teacher(recipe: Recipe, channels: int) -> Denoiser | None:
    """The frozen network to learn from; raises BadModel for one that is for other noise or other images."""
    if recipe.teacher is None:
        return None
    teacher = load_denoiser(recipe.teacher)
    if noise_of(teacher) not in (None, recipe.noise):
        raise BadModel(
            f"expected a teacher for {recipe.noise} noise, got {recipe.teacher}, for {noise_of(teacher)} noise"
        )
    if teacher.channels != channels:
        raise BadModel(
            f"expected a teacher for images of {channels} channels, got {recipe.teacher}, for {teacher.channels}"
        )
    (low, high), known = recipe.sigma_range, teacher.sigma_range
    if known is not None and not known[0] <= low <= high <= known[1]:
        warnings.warn(
            f"the teacher was trained for sigma {known[0]:g} to {known[1]:g}; some of {low:g} to {high:g} is outside",
            stacklevel=3,
        )
    return teacher.requires_grad_(False).eval()


@torch.no_grad()
def _estimate(teacher: Denoiser, noisy: Tensor, sigma: Tensor) -> Tensor:
    return teacher.denoise(noisy, sigma)


def _trains_partly(recipe: Recipe, objective: Objective) -> bool:
    """Whether some weights may get no gradient: those of a class head, of all but the head, or for noise not drawn."""
    if ARCHITECTURES.load(recipe.architecture).by_noise:
        return True
    if not objective.head:
        return bool(recipe.config.get("classes"))
    alone = objective.without_classifier if recipe.alone else objective
    return not (alone.asks_classifier or alone.mse)


def _check_images(sets: Sequence[ImageSet], denoiser: Denoiser, objective: Objective) -> None:
    for images in sets:
        if (channels := images[0].pixels.shape[2]) != denoiser.channels:
            raise BadImage(
                f"expected training images of {denoiser.channels} channels, got one of {channels}: repeat the channel, or "
                "store the images as files"
            )
    labels = [label for images in sets for label in images.labels]
    if objective.needs_labels and None in labels:
        raise BadImage(
            f"the objective needs the label of every image, {labels.count(None)} of {len(labels)} have none: "
            "use class subfolders, --labels or the objective stab"
        )
    if objective.head > 0.0:
        classes = denoiser.classes if isinstance(denoiser, UNet) else 0
        if not classes:
            raise BadParameter("the objective head needs a denoiser with a class head: a unet, and --classes")
        if (most := max(label for label in labels if label is not None)) >= classes:
            raise BadImage(f"expected labels from 0 to {classes - 1} for a head of {classes} classes, got {most}")


def _recognise(denoiser: Denoiser, objective: Objective) -> Callable[[Tensor, Tensor], tuple[Tensor, Any]] | None:
    """The denoiser with the logits of its class head, where they count."""
    return denoiser.recognise if objective.head > 0.0 and isinstance(denoiser, UNet) else None


def _told(recipe: Recipe, sets: Sequence[ImageSet], surrogates: Sequence[Surrogate]) -> dict[str, Any]:
    """The recipe as it is written down: other networks by content, because a path says nothing elsewhere."""
    told = {**asdict(recipe), "images": digest_json([images.fingerprint for images in sets])}
    told["surrogates"] = [{"name": surrogate.name, "digest": surrogate.digest} for surrogate in surrogates]
    for name, spec in (("start", recipe.start), ("teacher", recipe.teacher)):
        if spec is not None:
            told[name] = load_denoiser(spec).digest()
    value: dict[str, Any] = json.loads(json.dumps(told))
    return value
