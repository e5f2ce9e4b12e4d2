"""The training loop: one denoiser, one objective, a range of sigma."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.weights import build, load_denoiser, save_denoiser
from dsmooth.errors import BadModel, BadParameter, BadRun, TrainingDiverged, require
from dsmooth.images import ImageSet, Pixels
from dsmooth.records.digests import digest_json
from dsmooth.theory.bounds import check_count, check_seed
from dsmooth.training.patches import Patches, split

__all__ = ["Recipe", "Report", "mean_squared_error", "psnr", "train"]

_KEPT = 2  # checkpoints
_WARM_UP = 0.02  # of the steps
_CLIP = 0.1  # norm of the gradient: rare rough batches move the weights no further than usual ones
_JUDGED = 224  # pixels: held-out images are judged on their upper left square of at most this side


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, apart from the images.

    `start` names a denoiser to go on from, in place of random weights. `horizon` is the length of the schedule of the
    learning rate where that is not `steps`: a training that stops early, to be gone on from in another way.
    """

    architecture: str = "unet"
    config: dict[str, Any] = field(default_factory=lambda: {"widths": [64, 96, 160], "blocks": [2, 2, 2]})
    sigma_range: tuple[float, float] = (0.1, 0.6)
    steps: int = 30_000
    batch: int = 16
    patch: int = 64
    turns: bool = True
    zoom: bool = True
    lr: float = 1e-3
    weight_decay: float = 1e-4
    average: float = 0.999
    precision: str = "bf16-mixed"
    seed: int = 0
    start: str | None = None
    horizon: int | None = None

    def __post_init__(self) -> None:
        low, high = self.sigma_range
        if not 0.0 < low <= high < math.inf:
            raise BadParameter(f"sigma range must be two numbers with 0 < low <= high, got {low} {high}")
        for name in ("steps", "batch", "patch"):
            check_count(getattr(self, name), name)
        check_seed(self.seed)
        if not 0.0 < self.lr < math.inf or not 0.0 <= self.average < 1.0:
            raise BadParameter(f"expected lr > 0 and average in [0, 1), got lr {self.lr}, average {self.average}")


@dataclass(frozen=True)
class Report:
    """What is told while training goes on; psnr (dB, by sigma) only at evaluations."""

    step: int
    steps: int
    loss: float
    seconds: float
    psnr: dict[str, float] | None = None


def mean_squared_error(denoised: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """Mean squared error, each image's divided by its sigma: without that, the strongest noise decides everything."""
    return (((denoised.float() - clean) ** 2).mean(dim=(1, 2, 3)) / sigma).mean()


def psnr(denoised: Tensor, clean: Tensor) -> float:
    """Peak signal to noise ratio in dB of one image in [0, 1], the estimate clipped to that range."""
    error = float(((denoised.float().clamp(0.0, 1.0) - clean) ** 2).mean())
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def train(
    recipe: Recipe,
    sets: Sequence[ImageSet],
    out: Path,
    *,
    data: str,
    resume: bool = False,
    every: int = 1000,
    on_report: Callable[[Report], None] = lambda report: None,
) -> Path:
    """`out/model.safetensors` holds the averaged weights; `out/metrics.jsonl` the course of the training.

    A checkpoint is written every `every` steps, all or nothing, and the last two are kept; with `resume` the training
    goes on from the newest as if it had never stopped. A loss that is not finite raises TrainingDiverged and leaves the
    checkpoints as they were.
    """
    fabric_module = require("lightning_fabric", "train")
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = fabric_module.Fabric(accelerator="auto", devices=1, precision=recipe.precision)
    told = _told(recipe, sets)
    _check_same(told, out, resume)
    training, held_out = split(sets)
    patches = Patches(training, recipe.patch, recipe.turns, recipe.zoom)
    torch.manual_seed(recipe.seed)
    fresh = _fresh(recipe)
    patches.check_channels(fresh.channels)
    _write_recipe(told, out)

    raw = fresh.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(raw).requires_grad_(False)
    fused = torch.optim.AdamW(raw.parameters(), lr=recipe.lr, betas=(0.9, 0.99), weight_decay=recipe.weight_decay)
    denoiser, optimizer = fabric.setup(raw, fused)
    average = average.to(fabric.device)
    done, seconds = _restore(out, raw, average, fused, fabric.device) if resume else (0, 0.0)

    started = time.monotonic() - seconds
    loss_shown = math.nan
    quality: dict[str, float] | None = None
    for step in range(done, recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        clean = torch.from_numpy(patches.batch(recipe.batch, rng)).to(fabric.device)
        sigma = torch.from_numpy(rng.uniform(*recipe.sigma_range, recipe.batch).astype(np.float32)).to(fabric.device)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)).to(fabric.device)
        noisy = (clean + sigma.view(-1, 1, 1, 1) * noise).contiguous(memory_format=torch.channels_last)
        loss = mean_squared_error(denoiser(noisy, sigma), clean, sigma)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(f"the loss is {value} at step {step}: checkpoints are kept in {out}; lower --lr")
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * _schedule(step, recipe.horizon or recipe.steps)
        optimizer.zero_grad()
        fabric.backward(loss)
        torch.nn.utils.clip_grad_norm_(raw.parameters(), _CLIP)
        optimizer.step()
        _follow(average, raw, min(recipe.average, (step + 1) / (step + 10)))
        loss_shown = value if math.isnan(loss_shown) else 0.98 * loss_shown + 0.02 * value

        last = step + 1 == recipe.steps
        quality = _judge(average, held_out, recipe, fabric) if last or (step + 1) % every == 0 else None
        report = Report(step + 1, recipe.steps, loss_shown, time.monotonic() - started, quality)
        if quality is not None:
            _save_checkpoint(out, report, raw, average, fused)
        on_report(report)
    if quality is None:  # resumed after the last step: nothing was left to train
        quality = _judge(average, held_out, recipe, fabric)
    metrics = {"psnr_held_out": quality, "recipe": told}
    save_denoiser(average, out / "model.safetensors", data=data, metrics=metrics)
    return out / "model.safetensors"


def _fresh(recipe: Recipe) -> Denoiser:
    """The network at step 0: random, or the weights of `start`, which must be of the same architecture."""
    denoiser = build(recipe.architecture, recipe.config, recipe.sigma_range)
    if recipe.start is not None:
        source = load_denoiser(recipe.start)
        if (source.architecture, source.config) != (denoiser.architecture, denoiser.config):
            raise BadModel(
                f"expected {recipe.start} to hold {denoiser.architecture} {denoiser.config}, "
                f"got {source.architecture} {source.config}"
            )
        denoiser.load_state_dict(source.state_dict())
    return denoiser


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    warm = max(1.0, _WARM_UP * steps)
    return min(1.0, (step + 1) / warm) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _follow(average: Denoiser, current: Denoiser, keep: float) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1.0 - keep)


def _judge(denoiser: Denoiser, held_out: Sequence[Pixels], recipe: Recipe, fabric: Any) -> dict[str, float]:
    """Mean PSNR of the held-out images at the ends and the middle of the sigma range; the same noise every time."""
    low, high = recipe.sigma_range
    results: dict[str, float] = {}
    for sigma in sorted({low, round((low + high) / 2, 4), high}):
        values = []
        for i, pixels in enumerate(held_out):
            cut = np.ascontiguousarray(pixels[:_JUDGED, :_JUDGED].transpose(2, 0, 1))
            clean = torch.from_numpy(cut)[None].to(fabric.device).float() / 255
            noise = np.random.default_rng([recipe.seed, i]).standard_normal(clean.shape, dtype=np.float32)
            noisy = clean + sigma * torch.from_numpy(noise).to(fabric.device)
            with torch.inference_mode(), fabric.autocast():
                values.append(psnr(denoiser.denoise(noisy, sigma), clean))
        if values:  # a single image is trained on, not held out
            results[str(sigma)] = round(float(np.mean(values)), 3)
    return results


def _told(recipe: Recipe, sets: Sequence[ImageSet]) -> dict[str, Any]:
    """The recipe as it is written down: the start by content, because a path says nothing elsewhere."""
    told = {**asdict(recipe), "images": digest_json([images.fingerprint for images in sets])}
    if recipe.start is not None:
        told["start"] = load_denoiser(recipe.start).digest()
    value: dict[str, Any] = json.loads(json.dumps(told))
    return value


def _check_same(told: dict[str, Any], out: Path, resume: bool) -> None:
    """Raises BadRun where `out` holds another training, or one that nobody asked to go on with."""
    path = out / "recipe.json"
    if not path.exists():
        if out.exists() and not out.is_dir():
            raise BadRun(f"{out} is a file: choose a folder for --out")
        return
    if not resume:
        raise BadRun(f"{out} already holds a training: pass --resume to go on with it, or choose another --out")
    try:
        held = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BadRun(f"{path}: expected the recipe of a training, cannot read it ({error})") from error
    for name in told:
        if held.get(name) != told[name]:
            raise BadRun(f"{out} was trained with {name} {held.get(name)}, not {told[name]}: choose another --out")


def _write_recipe(told: dict[str, Any], out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out / "recipe.json", lambda file: file.write_text(json.dumps(told, indent=2) + "\n"))
    except OSError as error:
        raise BadRun(f"{out}: cannot be written ({error.strerror})") from error


def _save_checkpoint(out: Path, report: Report, current: Denoiser, average: Denoiser, optimizer: Any) -> None:
    state = {
        "step": report.step,
        "seconds": report.seconds,
        "current": current.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    _write(out / f"checkpoint-{report.step:08d}.pt", lambda file: torch.save(state, file))
    for old in sorted(out.glob("checkpoint-*.pt"))[:-_KEPT]:
        old.unlink()
    with (out / "metrics.jsonl").open("a") as log:
        log.write(json.dumps(asdict(report)) + "\n")


def _restore(out: Path, current: Denoiser, average: Denoiser, optimizer: Any, device: Any) -> tuple[int, float]:
    for path in sorted(out.glob("checkpoint-*.pt"), reverse=True):
        try:
            state = torch.load(path, map_location=device, weights_only=True)
        except (RuntimeError, OSError, EOFError, ValueError):
            continue  # torn by a crash of the disk: the one before it is whole
        current.load_state_dict(state["current"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), float(state["seconds"])
    return 0, 0.0


def _write(path: Path, fill: Callable[[Path], Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fill(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
