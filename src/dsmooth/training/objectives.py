"""The objectives that a denoiser is trained for. Quick to import: the command line reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from dsmooth.errors import BadParameter

__all__ = ["Objective"]

_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "mse": "mse",
        "stab": "stability",
        "stability": "stability",
        "clf": "classification",
        "classification": "classification",
        "cons": "consistency",
        "consistency": "consistency",
        "adv": "adversarial",
        "adversarial": "adversarial",
        "sel": "selective",
        "selective": "selective",
        "head": "head",
        "headcons": "head_consistency",
    }
)
_ANCHORS: Final = frozenset({"mse", "stability", "classification", "adversarial", "selective"})
"""Terms that tie the classifier's answer to the image."""
_TERM = re.compile(r"(?P<weight>[0-9.]+(?:e-?[0-9]+)?)?\*?(?P<name>[a-z]+)")


@dataclass(frozen=True)
class Objective:
    """A weighted sum of the objectives of Salman et al. 2020, section 3, and of others; a term of weight 0 is absent.

    mse: the mean squared error of each image, divided by its sigma: from the clean image, or from a teacher's estimate of
        the same noisy one (distillation, as Hinton et al. 2015 do with classifiers), which may be made for classifiers.
    stability: cross-entropy between classifier(denoised) and the classifier's own answer on the clean image.
    classification: cross-entropy between classifier(denoised) and the true label.
    consistency: divergence (Kullback-Leibler) of the predictions under two draws of the noise from their mean, plus a
        twentieth of the mean's entropy (Jeong and Shin 2020): large radii need the same answer under every draw.
    adversarial: as classification, under noise that was moved to where the classifier errs more (Hedayatnia et al. 2025);
        all terms then see the image under this noise. They train the classifier so; here it is frozen, and the denoiser
        learns. Three times the cost of a step.
    selective: as classification, but only of the denoised images that the classifier gets right; the others, it is held, no
        longer show their class (Jang et al. 2024, who train the classifier so).
    head: cross-entropy between the denoiser's own class head and the true label. It trains the network to recognise the
        image, which gradients through a frozen classifier do slowly, under strong noise hardly at all.
    head_consistency: the same as consistency, of the head's predictions; only beside head.
    """

    mse: float = 0.0
    stability: float = 0.0
    classification: float = 0.0
    consistency: float = 0.0
    adversarial: float = 0.0
    selective: float = 0.0
    head: float = 0.0
    head_consistency: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Objective:
        """The objective of a text such as "mse", "stab", "clf + 30 mse".

        Raises BadParameter for any other text, weights that are not above 0, and terms that do not go together.
        """
        weights: dict[str, float] = {}
        for part in text.split("+"):
            term = _TERM.fullmatch(part.replace(" ", "").lower())
            name = _NAMES.get(term["name"]) if term else None
            if term is None or name is None or name in weights:
                raise BadParameter(
                    "expected an objective as mse, stab, clf, cons, adv, sel, head, headcons or a sum such as clf+30mse, "
                    f"got {text!r}"
                )
            try:
                weights[name] = float(term["weight"] or 1.0)
            except ValueError:
                raise BadParameter(f"expected a weight before {term['name']}, got {term['weight']!r}") from None
        if not all(0.0 < weight < math.inf for weight in weights.values()):
            raise BadParameter(f"expected weights above 0 in an objective, got {text!r}")
        if "consistency" in weights and not weights.keys() & _ANCHORS:
            raise BadParameter("cons is minimised by one answer of the classifier for everything: add stab or clf")
        if "head_consistency" in weights and "head" not in weights:
            raise BadParameter("headcons is minimised by one answer for everything: add head")
        if len(weights.keys() & {"classification", "adversarial", "selective"}) > 1:
            raise BadParameter("adv and sel are clf, under other noise or on some of the images: name one of them")
        return cls(**weights)

    @property
    def asks_classifier(self) -> bool:
        """Whether it needs a classifier (a surrogate)."""
        return self.needs_classes or any((self.stability, self.consistency))

    @property
    def draws(self) -> int:
        """The number of noise draws for each image of a batch."""
        return 2 if self.consistency > 0.0 or self.head_consistency > 0.0 else 1

    @property
    def needs_labels(self) -> bool:
        """Whether it needs true labels."""
        return self.needs_classes or self.head > 0.0

    @property
    def needs_classes(self) -> bool:
        """Whether the classifier must know the classes of the true labels."""
        return any((self.classification, self.adversarial, self.selective))

    @property
    def without_classifier(self) -> Objective:
        """The terms that need no classifier."""
        return replace(self, stability=0.0, classification=0.0, consistency=0.0, adversarial=0.0, selective=0.0)
