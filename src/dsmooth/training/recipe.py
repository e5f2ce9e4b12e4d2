"""What decides a denoiser's weights, apart from the images. Quick to import: the command line reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from dsmooth.errors import BadParameter
from dsmooth.training.objectives import Objective
from dsmooth.training.plan import TrainingPlan

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe(TrainingPlan):
    """Everything that decides the weights, apart from the images."""

    architecture: str = "unet"
    """As in denoisers.weights."""
    config: dict[str, Any] = field(default_factory=lambda: {"widths": [64, 96, 160], "blocks": [2, 2, 2]})
    """What builds the architecture."""
    sigma_range: tuple[float, float] = (0.1, 0.6)
    """Least and most noise; the same twice for one noise only."""
    noise: Literal["gaussian", "uniform", "splitting"] = "gaussian"
    """The law of noise to be trained under; sigma is its standard deviation: that of uniform noise, and about that of
    splitting noise, is levels / 883."""
    brightness: float = 0.0
    """Standard deviation of noise on the brightness beside it, pixels in [0, 1]; for `certify --brightness`."""
    colour: float = 0.0
    """The same for each channel."""
    ramp: float = 0.0
    """The same for light from a side, at the edge of the image."""
    judged: tuple[float, ...] = ()
    """Sigmas at which held-out images are judged; the ends and the middle of the range by default."""
    sigma_law: Literal["uniform", "log-uniform"] = "uniform"
    """How sigma is drawn for each image: log-uniform gives each octave the same share."""
    objective: str = "mse"
    """mse (squared error); stab (the classifier's own answers on clean images; no labels); clf (true labels); head (true
    labels for the denoiser's own class head); or a weighted sum such as "clf + head + 2.5 mse"; in a sum, cons too (the
    same answer under two draws of the noise). To fine-tune an mse denoiser, name it with --start."""
    surrogates: tuple[str, ...] = ()
    """Classifiers that stab and clf ask, in turn, and that judge held-out images: the forms of `certify -c` but for
    onnx. Name the classifier to protect, or, where only queries to it are possible, others."""
    mirrored: bool = False
    """Surrogates are asked about each image and its mirror image, and their logits averaged: for `certify --mirror`."""
    alone: float = 0.0
    """The share of the training, from its start, in which no classifier is asked: only mse and head count there."""
    temperature: float = 1.0
    """What the logits of surrogates are divided by; 4 serves strong noise better than 1."""
    cut: float | None = None
    """Longest gradient that one image's loss may send back through a surrogate; nothing is cut by default."""
    patch: int = 64
    """Pixels a side of a patch."""
    turns: bool = True
    """Quarter turns of patches, for images without an up."""
    zoom: bool = True
    """Half of the patches from up to twice their size, where images are large enough."""
    mirror: bool = True
    """Half of the images are mirrored; not for digits and letters."""
    padding: int | None = None
    """Whole images of one size, moved by up to so many pixels, in place of patches: 4 for 32-pixel images."""
    distort: float = 0.0
    """With --padding: images are also turned (radians), scaled and changed in contrast by up to so much, 0.1 for example."""
    start: str | None = None
    """A denoiser (name, folder or file) to go on from, in place of random weights."""

    def __post_init__(self) -> None:
        from dsmooth.theory.bounds import check_count  # here: SciPy is slow to import
        from dsmooth.theory.laws.gaussian import Gaussian
        from dsmooth.theory.laws.lighting import Lighting

        super().__post_init__()
        low, high = self.sigma_range
        if not 0.0 < low <= high:
            raise BadParameter(f"sigma range must be two numbers with 0 < low <= high, got {low} {high}")
        for sigma in (low, high, *self.judged):
            Gaussian(sigma)  # complains of what cannot be smoothed with
        if any(self.light.values()):
            Lighting(low, **self.light)  # complains of what is no strength
            if self.noise != "gaussian":
                raise BadParameter(f"noise on the light goes with gaussian noise, got {self.noise}")
        if not 0.0 < self.temperature < math.inf:
            raise BadParameter(f"expected temperature above 0, got {self.temperature}")
        if self.cut is not None and not 0.0 < self.cut < math.inf:
            raise BadParameter(f"expected cut above 0, got {self.cut}")
        check_count(self.patch, "patch")
        if self.padding is not None:
            check_count(self.padding, "padding", least=0)
        if not 0.0 <= self.distort < 1.0:
            raise BadParameter(f"expected distort from 0 to below 1, got {self.distort}")
        if self.distort and self.padding is None:
            raise BadParameter("distort is for whole images: pass padding too (0 or more)")
        objective = Objective.parse(self.objective)
        if self.batch % objective.draws:
            raise BadParameter(f"consistency takes each image twice: expected an even batch, got {self.batch}")
        if objective.asks_classifier and not self.surrogates:
            raise BadParameter(f"the objective {self.objective!r} asks a classifier: name at least one --surrogate")
        if not 0.0 <= self.alone <= 1.0:
            raise BadParameter(f"expected alone as a share from 0 to 1, got {self.alone}")
        if self.alone and not (objective.mse or objective.head):
            raise BadParameter(f"{self.objective!r} has nothing to learn alone: add mse or head to the objective")

    @property
    def light(self) -> dict[str, float]:
        """The strengths of the noise on the light."""
        return {"brightness": self.brightness, "colour": self.colour, "ramp": self.ramp}

    @property
    def judged_at(self) -> list[float]:
        """The sigmas at which held-out images are judged."""
        low, high = self.sigma_range
        return sorted(set(self.judged or (low, round((low + high) / 2, 4), high)))
