"""The training loop: any network, any loss; resumable, averaged, stopped by numbers that are not finite."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dsmooth.backends.allocator import keep_freed_memory
from dsmooth.errors import BadParameter, TrainingDiverged, require
from dsmooth.training.checkpoints import TrainingFolder
from dsmooth.training.optimizers import optimizers
from dsmooth.training.plan import TrainingPlan

__all__ = ["Report", "Scores", "check_norms", "descend", "fabric_for", "generator", "is_first", "share_of"]

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


def fabric_for(plan: TrainingPlan, processes: int = 1, *, partly: bool = False) -> Any:
    """Lightning's Fabric on the best device there is, in the plan's precision.

    With several `processes` the others are started here, and this returns in all of them; under torchrun, which has
    started them, they are as many as it says. `partly`: there are steps at which some weights get no gradient.
    """
    module = require("lightning_fabric", "train")
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    here, machines = _by_torchrun()
    here = processes if here * machines == 1 else here
    if here * machines == 1:
        fabric = module.Fabric(accelerator="auto", devices=1, precision=plan.precision)
    else:
        if torch.cuda.is_available() and torch.cuda.device_count() < here:
            raise BadParameter(f"expected a GPU for each of {here} processes, found {torch.cuda.device_count()}")
        fabric = module.Fabric(
            accelerator="auto",
            devices=here,
            num_nodes=machines,
            strategy="ddp_find_unused_parameters_true" if partly else "ddp",
            precision=plan.precision,
        )
        fabric.launch()
    torch.backends.cudnn.benchmark = fabric.device.type == "cuda"
    keep_freed_memory()
    return fabric


def is_first(processes: int) -> bool:
    """Whether this process is the one that speaks: the only one, or the first of several."""
    here, machines = _by_torchrun()
    return max(here * machines, processes) == 1 or int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def _by_torchrun() -> tuple[int, int]:
    """How many processes torchrun has started on this machine, and on how many machines; 1 and 1 without it."""
    here, machines = (os.environ.get(name, "1") for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"))
    return int(here), int(machines)


def share_of(fabric: Any, count: int, draws: int = 1) -> slice | Tensor:
    """The rows of a batch of count x draws that this process works on; raises BadParameter where they cannot be shared.

    The batch is drawn whole by every process, from seed and step alone, so that their number changes no image and no
    noise. Images are shared, each with all draws of its noise, in equal parts: the mean over all is the mean of the means.
    """
    processes = fabric.world_size
    if processes == 1:
        return slice(None)
    if count % processes:
        raise BadParameter(f"expected a batch of images that {processes} processes can share equally, got {count}")
    mine = torch.arange(fabric.global_rank, count, processes, device=fabric.device)
    return torch.cat([mine + draw * count for draw in range(draws)])


def check_norms(fabric: Any, network: nn.Module) -> None:
    """Raises BadParameter for batch normalisation in several processes, each of which would know its own images alone."""
    if fabric.world_size > 1 and any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules()):
        raise BadParameter(
            "batch normalisation is for one process, because several would have statistics of their own: leave out --norm "
            "(unet), choose another architecture than dncnn, or train in one process"
        )


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
    In several processes the loss is that of each one's share of the batch; the first one judges, writes and reports.
    A loss or a gradient that is not finite raises TrainingDiverged and leaves the checkpoints as they were.
    """
    device: torch.device = fabric.device
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False).eval()
    bare = optimizers(plan, network.parameters(), fused=device.type == "cuda")
    wrapped, *movers = fabric.setup(network, *bare)
    wrapped.train()
    if fabric.world_size > 1 and hasattr(network, "recognise"):
        wrapped.mark_forward_method("recognise")  # gradients are gathered for what is called through the wrapper
    first = fabric.global_rank == 0
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
        if plan.minutes is not None and fabric.world_size > 1:
            seconds = fabric.broadcast(seconds)  # or one would stop before another
        progress = plan.progress(step, seconds)

        judged = progress >= 1.0 or step % every == 0
        if not judged and step % look != 0:
            continue
        mean = float(fabric.all_reduce(total, reduce_op="mean")) / counted
        if not math.isfinite(mean):
            kept = folder.newest
            raise TrainingDiverged(
                f"loss or gradient is not finite at step {step - 1} (loss {float(value.detach()):g}): train with a lower "
                f"--lr into another --out{f'; the last good checkpoint is {kept}' if kept else ''}"
            )
        keep = 0.98**counted
        shown = mean if math.isnan(shown) else keep * shown + (1.0 - keep) * mean
        total, counted = torch.zeros_like(total), 0
        if not first:
            continue
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
    if scores is None and first:  # resumed after the last step
        scores = judge(average)
    fabric.barrier()
    return average, scores or {}


def _follow(average: nn.Module, current: nn.Module, keep: float) -> None:
    """Weights and statistics move towards the current ones; counters are taken over."""
    pairs = list(zip(average.state_dict().values(), current.state_dict().values(), strict=True))
    floating = [(old, new) for old, new in pairs if old.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([old for old, _ in floating], [new for _, new in floating], 1.0 - keep)
        for old, new in pairs:
            if not old.is_floating_point():
                old.copy_(new)
