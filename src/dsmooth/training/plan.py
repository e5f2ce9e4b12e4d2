"""The optimisation: optimiser, learning rate, averaging and length. Quick to import: the command line reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from dsmooth.errors import BadParameter

__all__ = ["TrainingPlan"]

_WARM_UP = 0.02  # of the training
_SWITCH = 5 / 9  # of the training: epoch 50 of 90


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Everything about the optimisation, apart from the loss."""

    steps: int = 30_000
    """Steps of the optimiser."""
    horizon: int | None = None
    """Length of the learning-rate schedule in steps, if not `steps`: for a training that stops early and is continued in
    another way."""
    minutes: float | None = None
    """Train for this many minutes, instead of --steps; not exactly reproducible."""
    batch: int = 16
    """Patches per step."""
    optimizer: Literal["adamw", "muon", "adam", "adam-then-sgd"] = "adamw"
    """muon (Jordan et al. 2024) for all convolutions but the first and the last, with AdamW for everything else;
    adam-then-sgd switches to momentum SGD after five ninths (epoch 50 of 90)."""
    lr: float = 1e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "stepped"] = "cosine"
    """cosine and linear: warm-up, then decay to zero; stepped: divided by 10 after each third (Salman et al. 2020)."""
    weight_decay: float = 1e-4
    """Weight decay of the optimiser."""
    clip: float | None = 0.1
    """Clip gradients to this l2 norm over all weights, so that rare outlier batches do not upset the training."""
    average: float = 0.999
    """Decay of the exponential moving average of the weights, which is the result; 0 uses the last weights."""
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    """bf16-mixed is several times faster on recent CPUs and GPUs."""
    seed: int = 0
    """Seed of initial weights, images and noise."""

    def __post_init__(self) -> None:
        from dsmooth.theory.bounds import check_count, check_seed  # here: SciPy is slow to import

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
