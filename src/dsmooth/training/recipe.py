"""Everything that determines a denoiser's weights, apart from the images. Quick to import: the command line reads it."""

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
    """Everything that determines the weights, apart from the images."""

    architecture: str = "unet"
    """The name of a network in denoisers/names.py."""
    config: dict[str, Any] = field(default_factory=lambda: {"widths": [64, 96, 160], "blocks": [2, 2, 2]})
    """The configuration of the architecture."""
    sigma_range: tuple[float, float] = (0.1, 0.6)
    """Smallest and largest sigma; equal for a single noise level."""
    noise: Literal["gaussian", "uniform", "splitting"] = "gaussian"
    """The noise distribution to train under; sigma is its standard deviation: levels / 883 for uniform noise, and
    approximately for splitting noise."""
    brightness: float = 0.0
    """Standard deviation of additional noise on the brightness, pixels in [0, 1]; for `certify --brightness`."""
    colour: float = 0.0
    """The same for each colour channel; for `certify --colour`."""
    ramp: float = 0.0
    """The same for light from one side, at the edge of the image; for `certify --ramp`."""
    judged: tuple[float, ...] = ()
    """Sigmas for validation on held-out images; by default the ends and the middle of the range."""
    sigma_law: Literal["uniform", "log-uniform"] = "uniform"
    """Distribution of sigma over images: log-uniform gives each octave the same share."""
    objective: str = "mse"
    """mse (squared error); stab (stability: the classifier's own answers on clean images; no labels); clf (true labels); adv
    (clf, under noise that was moved against the classifier); sel (clf, on images that the classifier gets right); head (true
    labels for the denoiser's own class head); or a weighted sum such as "clf + head + 2.5 mse", which may include cons and
    headcons (consistency under two draws of the noise, of the classifier and of the head). To fine-tune an mse denoiser,
    pass it as --start."""
    surrogates: tuple[str, ...] = ()
    """Surrogate classifiers for stab, clf, cons, adv and sel, used in turn, and for validation: as in `certify -c`, except
    onnx and services. Name the classifier to protect or, if it can only be queried, others."""
    mirrored: bool = False
    """Average the surrogates' logits over each image and its mirror image; for `certify --mirror`."""
    alone: float = 0.0
    """The first share of the training, from 0 to 1, without surrogates: only mse and head count there."""
    temperature: float = 1.0
    """Temperature that divides the surrogates' logits; under strong noise 4 works better than 1."""
    cut: float | None = None
    """Clip the gradient of each image's loss through a surrogate to this l2 norm; by default off."""
    label_smoothing: float | None = None
    """Spread this share of each true label evenly over all classes, for clf, adv, sel and head; by default none."""
    patch: int = 64
    """Side of a patch in pixels."""
    turns: bool = True
    """Rotate patches by multiples of 90 degrees, for images without a preferred orientation."""
    zoom: bool = True
    """Take half of the patches from squares of up to twice the size, scaled down, where images are large enough."""
    mirror: bool = True
    """Mirror half of the images; not for digits and letters."""
    padding: int | None = None
    """Train on whole images of one size, shifted by up to this many pixels, instead of patches: 4 for 32-pixel images."""
    distort: float = 0.0
    """With --padding: also rotate (radians), scale and change the contrast of images by up to this much, say 0.1."""
    teacher: str | None = None
    """A denoiser (name, folder or file) to learn from, such as a larger one: mse is then the squared error from its estimate
    of the same noisy image, in place of the clean image."""
    start: str | None = None
    """A denoiser (name, folder or file) to start from, instead of random weights."""

    def __post_init__(self) -> None:
        from dsmooth.denoisers.trained_for import law_for  # here: SciPy is slow to import
        from dsmooth.theory.bounds import check_count
        from dsmooth.theory.laws.gaussian import Gaussian
        from dsmooth.theory.laws.lighting import Lighting

        super().__post_init__()
        low, high = self.sigma_range
        if not 0.0 < low <= high:
            raise BadParameter(
                f"sigma range must be two numbers with 0 < low <= high, got {low} {high}: pass both --sigma-min and "
                "--sigma-max"
            )
        for sigma in (low, high, *self.judged):
            Gaussian(sigma)  # complains of what cannot be smoothed with
            law_for({"noise": self.noise}, sigma)
        if any(self.light.values()):
            Lighting(low, **self.light)  # complains of what is no strength
            if self.noise != "gaussian":
                raise BadParameter(f"noise on the lighting needs gaussian noise, got {self.noise}")
        if not 0.0 < self.temperature < math.inf:
            raise BadParameter(f"expected temperature above 0, got {self.temperature}")
        if self.cut is not None and not 0.0 < self.cut < math.inf:
            raise BadParameter(f"expected cut above 0, got {self.cut}")
        if self.label_smoothing is not None and not 0.0 <= self.label_smoothing < 1.0:
            raise BadParameter(f"expected label smoothing from 0 to below 1, got {self.label_smoothing}")
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
        if objective.adversarial and self.noise != "gaussian":
            raise BadParameter(f"the objective adv moves gaussian noise: leave out --noise {self.noise}, or name clf")
        if objective.asks_classifier and not self.surrogates:
            raise BadParameter(f"the objective {self.objective!r} needs a classifier: pass at least one --surrogate")
        if self.teacher is not None and not objective.mse:
            raise BadParameter(
                f"a teacher is for mse, which {self.objective!r} lacks: add it, or leave out the teacher"
            )
        if not 0.0 <= self.alone <= 1.0:
            raise BadParameter(f"expected alone as a share from 0 to 1, got {self.alone}")
        if self.alone and not (objective.mse or objective.head):
            raise BadParameter(
                f"{self.objective!r} has no term for the part without surrogates (alone): add mse or head to the objective"
            )

    @property
    def light(self) -> dict[str, float]:
        """The strengths of the noise on the light."""
        return {"brightness": self.brightness, "colour": self.colour, "ramp": self.ramp}

    @property
    def judged_at(self) -> list[float]:
        """The sigmas at which held-out images are judged."""
        low, high = self.sigma_range
        return sorted(set(self.judged or (low, round((low + high) / 2, 4), high)))
