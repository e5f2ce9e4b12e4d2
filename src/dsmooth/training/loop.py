"""The training loop: any network, any loss; resumable, averaged, stopped by numbers that are not finite."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dsmooth.errors import TrainingDiverged, require
from dsmooth.training.checkpoints import TrainingFolder
from dsmooth.training.optimizers import optimizers
from dsmooth.training.plan import TrainingPlan

__all__ = ["Report", "Scores", "descend", "fabric_for", "generator"]

_LOOK = 50  # steps between two looks at the loss of a GPU, which is waited for then
_SAVE_EVERY = 60.0  # seconds: what an interruption may cost

Scores = dict[str, Any]
"""What a judgement of the averaged weights found, by kind: {"psnr": {"0.25": 23.1}, ...}."""

TensorFunction = TypeVar("TensorFunction", bound=nn.Module)


@dataclass(frozen=True)
class Report:
    """What is told while training goes on; progress is 0 to 1, scores only at evaluations."""

    step: int
    progress: float
    loss: float
    seconds: float
    scores: Scores | None = None


def fabric_for(plan: TrainingPlan) -> Any:
    """Lightning's Fabric on the best device there is, in the plan's precision."""
    module = require("lightning_fabric", "train")
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    fabric = module.Fabric(accelerator="auto", devices=1, precision=plan.precision)
    torch.backends.cudnn.benchmark = fabric.device.type == "cuda"
    return fabric


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """A generator of random numbers on this device that follows from the numbers alone."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device).manual_seed(seed)


def descend(
    fabric: Any,
    network: TensorFunction,
    plan: TrainingPlan,
    folder: TrainingFolder,
    *,
    loss: Callable[[nn.Module, int, float], Tensor],
    judge: Callable[[TensorFunction], Scores],
    every: int,
    resume: bool,
    compiled: bool = False,
    on_report: Callable[[Report], None],
) -> tuple[TensorFunction, Scores]:
    """The averaged weights after the training, and the judgement on them.

    `loss` is that of the network at a step and a part of the training (0 to 1): it must follow from these alone, so that a
    training that is resumed goes on as if it had never stopped. Every `every` steps the average is judged; a checkpoint is
    written then, and every minute.
    A loss or a gradient that is not finite raises TrainingDiverged and leaves the checkpoints as they were.
    """
    device: torch.device = fabric.device
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False).eval()
    bare = optimizers(plan, network.parameters(), fused=device.type == "cuda")
    wrapped, *movers = fabric.setup(network, *bare)
    wrapped.train()
    if compiled:
        network.compile()  # in place: names and copies of the weights stay as they are
    state = folder.restore(device) if resume else None
    step, seconds, shown = 0, 0.0, math.nan
    if state is not None:
        step, seconds, shown = int(state["step"]), float(state["seconds"]), float(state["shown"])
        network.load_state_dict(state["current"])
        average.load_state_dict(state["average"])
        for optimizer, held in zip(bare, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)

    start = time.monotonic() - seconds
    saved = time.monotonic()
    look = _LOOK if device.type == "cuda" else 1
    total, counted = torch.zeros((), device=device), 0
    scores: Scores | None = None
    progress = plan.progress(step, seconds)
    while progress < 1.0:
        moving = movers[plan.moving_at(progress)]
        for optimizer in moving:
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(progress)
        value = loss(wrapped, step, progress)
        for optimizer in moving:
            optimizer.zero_grad()
        fabric.backward(value)
        longest = math.inf if plan.clip is None else plan.clip
        length = nn.utils.clip_grad_norm_(network.parameters(), longest)
        for optimizer in moving:
            optimizer.step()
        step += 1
        _follow(average, network, min(plan.average, step / (step + 9)))
        total, counted = total + value.detach() + 0.0 * length, counted + 1  # not finite if one of them is not
        seconds = time.monotonic() - start
        progress = plan.progress(step, seconds)

        judged = progress >= 1.0 or step % every == 0
        if not judged and step % look != 0:
            continue
        mean = float(total) / counted
        if not math.isfinite(mean):
            kept = folder.checkpoints()
            raise TrainingDiverged(
                f"loss or gradient is not finite at step {step - 1} (loss {float(value.detach()):g}): train with a lower "
                f"--lr into another --out{f'; the last good checkpoint is {kept[-1]}' if kept else ''}"
            )
        keep = 0.98**counted
        shown = mean if math.isnan(shown) else keep * shown + (1.0 - keep) * mean
        total, counted = torch.zeros_like(total), 0
        scores = judge(average) if judged else None
        report = Report(step, progress, shown, time.monotonic() - start, scores)
        if judged or time.monotonic() - saved > _SAVE_EVERY:
            state = {
                "seconds": report.seconds,
                "shown": shown,
                "current": network.state_dict(),
                "average": average.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in bare],
            }
            folder.save(step, state, asdict(report) if judged else None)
            saved = time.monotonic()
        on_report(report)
    return average, judge(average) if scores is None else scores  # None: resumed after the last step


def _follow(average: nn.Module, current: nn.Module, keep: float) -> None:
    """Weights and statistics move towards the current ones; counters are taken over."""
    pairs = list(zip(average.state_dict().values(), current.state_dict().values(), strict=True))
    floating = [(old, new) for old, new in pairs if old.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([old for old, _ in floating], [new for _, new in floating], 1.0 - keep)
        for old, new in pairs:
            if not old.is_floating_point():
                old.copy_(new)
