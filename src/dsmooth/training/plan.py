"""How weights move: optimiser, learning rate, averaging, and for how long. Without torch: the command line reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_count, check_seed

__all__ = ["Plan"]

_WARM_UP = 0.02  # of the training
_SWITCH = 5 / 9  # of the training: epoch 50 of 90


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the course of the weights, apart from the loss.

    steps: its length; with `minutes`, it lasts so many minutes of training in place of steps (and is then as repeatable
        as the clock). `horizon`: steps for which the learning rate is laid out, where that is not `steps`: a training
        that stops early, to be gone on from in another way.
    schedule: "cosine" or "linear" (warm-up, then down to zero), or "stepped" (a tenth after each third: the StepLR of
        Salman et al.
        2020, 30 of 90 epochs).
    optimizer: "adamw"; "muon" (Jordan et al. 2024) for convolutions but the first and the last, AdamW for everything else;
        "adam"; or "adam-then-sgd", which goes on with momentum SGD after five ninths (epoch 50 of 90).
    average: decay of the exponential moving average of the weights; 0 takes the last weights.
    clip: longest gradient (l2 norm over all weights): rare rough batches move the weights no further than usual ones.
    """

    steps: int = 30_000
    minutes: float | None = None
    batch: int = 16
    optimizer: Literal["adamw", "muon", "adam", "adam-then-sgd"] = "adamw"
    lr: float = 1e-3
    schedule: Literal["cosine", "linear", "stepped"] = "cosine"
    weight_decay: float = 1e-4
    average: float = 0.999
    clip: float | None = 0.1
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    seed: int = 0
    horizon: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            check_count(getattr(self, name), name)
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and (value := getattr(self, name)) not in get_args(hint):
                known = ", ".join(get_args(hint))
                raise BadParameter(f"expected {name.replace('_', ' ')} as one of {known}, got {value!r}")
        if self.horizon is not None:
            check_count(self.horizon, "horizon", least=self.steps)
            if self.minutes is not None:
                raise BadParameter("horizon counts steps: leave out minutes")
        check_seed(self.seed)
        if not 0.0 <= self.weight_decay < math.inf:
            raise BadParameter(f"expected a weight decay of 0 or more, got {self.weight_decay}")
        if not 0.0 < self.lr < math.inf or not 0.0 <= self.average < 1.0:
            raise BadParameter(f"expected lr > 0 and average in [0, 1), got lr {self.lr}, average {self.average}")
        for name in ("minutes", "clip"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise BadParameter(f"expected {name} above 0, got {value}")

    def progress(self, step: int, seconds: float) -> float:
        """The part of the training that is done after so many steps and seconds, 0 to 1."""
        return min(1.0, step / self.steps if self.minutes is None else seconds / (60.0 * self.minutes))

    def rate(self, progress: float) -> float:
        """The learning rate at that part of the training."""
        progress = self._laid_out(progress)
        if self.schedule == "stepped":
            return self.lr * 0.1 ** math.floor(3.0 * progress)
        warm = min(1.0, progress / _WARM_UP + 1e-3)  # more than zero at the first step
        left = 1.0 - progress if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.lr * warm * left

    def moving_at(self, progress: float) -> slice:
        """Which of the optimisers (see optimizers.py) move the weights at that part of the training."""
        if self.optimizer != "adam-then-sgd":
            return slice(None)
        return slice(1, 2) if self._laid_out(progress) >= _SWITCH else slice(0, 1)

    def _laid_out(self, progress: float) -> float:
        """The part of the schedule that is done at that part of the training."""
        return progress if self.horizon is None else progress * self.steps / self.horizon
