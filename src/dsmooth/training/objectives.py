"""What a denoiser is trained for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.errors import BadParameter

__all__ = ["Objective", "mean_squared_error"]

_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "mse": "mse",
        "stab": "stability",
        "stability": "stability",
        "clf": "classification",
        "classification": "classification",
        "cons": "consistency",
        "consistency": "consistency",
    }
)
_ENTROPY = 0.05
"""Of the mean prediction, beside its divergence: 0.5 to 10, as in the experiments of Jeong and Shin 2020."""
_TERM = re.compile(r"(?P<weight>[0-9.]+(?:e-?[0-9]+)?)?\*?(?P<name>[a-z]+)")


@dataclass(frozen=True)
class Objective:
    """A weighted sum of the objectives of Salman et al. 2020, section 3, and one of Jeong and Shin; weights are 0 or more.

    mse: the mean squared error of each image, divided by its sigma.
    stability: cross-entropy between classifier(denoised) and the classifier's own answer on the clean image.
    classification: cross-entropy between classifier(denoised) and the true label.
    consistency: how far the predictions under two draws of the noise are from their mean (Kullback-Leibler divergence), plus
        a twentieth of the mean's entropy (Jeong and Shin 2020): large radii want the same answer under every draw.
    """

    mse: float = 0.0
    stability: float = 0.0
    classification: float = 0.0
    consistency: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Objective:
        """The objective of a text such as "mse", "stab", "clf + 30 mse"."""
        weights: dict[str, float] = {}
        for part in text.split("+"):
            term = _TERM.fullmatch(part.replace(" ", "").lower())
            name = _NAMES.get(term["name"]) if term else None
            if term is None or name is None or name in weights:
                raise BadParameter(
                    f"expected an objective as mse, stab, clf, cons or a sum such as clf+30mse, got {text!r}"
                )
            try:
                weights[name] = float(term["weight"] or 1.0)
            except ValueError:
                raise BadParameter(f"expected a weight before {term['name']}, got {term['weight']!r}") from None
        if not all(0.0 < weight < math.inf for weight in weights.values()):
            raise BadParameter(f"expected weights above 0 in an objective, got {text!r}")
        if weights.keys() == {"consistency"}:
            raise BadParameter("consistency alone is content with one answer for everything: add stab or clf")
        return cls(**weights)

    @property
    def asks_classifier(self) -> bool:
        """Whether it needs a classifier (a surrogate)."""
        return self.stability > 0.0 or self.classification > 0.0 or self.consistency > 0.0

    @property
    def draws(self) -> int:
        """How many draws of the noise each image of a batch is needed under."""
        return 2 if self.consistency > 0.0 else 1

    def loss(
        self,
        denoised: Tensor,
        clean: Tensor,
        sigma: Tensor,
        network: nn.Module | None,
        labels: Tensor | None,
        temperature: float = 1.0,
    ) -> Tensor:
        """The loss of a batch; network: images -> logits, frozen; labels: (B,) true classes, for classification.

        For consistency the second half of the batch is the first one under other noise.
        Logits are divided by the temperature. Above 1, a classifier that is sure of wrong answers (they all are, on what
        strong noise leaves of an image) does not drown the images on which there is something to decide.
        """
        terms = []
        if self.mse > 0.0:
            terms.append(self.mse * mean_squared_error(denoised, clean, sigma))
        if self.asks_classifier:
            assert network is not None
            logits = network(denoised).float() / temperature
            if self.stability > 0.0:
                with torch.no_grad():
                    own = network(clean).argmax(dim=1)
                terms.append(self.stability * F.cross_entropy(logits, own))
            if self.classification > 0.0:
                assert labels is not None
                terms.append(self.classification * F.cross_entropy(logits, labels))
            if self.consistency > 0.0:
                terms.append(self.consistency * _inconsistency(logits))
        return torch.stack(terms).sum()


def mean_squared_error(denoised: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """Mean squared error, each image's divided by its sigma: without that, the strongest noise decides everything."""
    return (((denoised.float() - clean) ** 2).mean(dim=(1, 2, 3)) / sigma).mean()


def _inconsistency(logits: Tensor) -> Tensor:
    """Of the first half of the batch and the second: divergence from the mean prediction, and a part of its entropy."""
    logs = torch.stack(logits.log_softmax(dim=1).chunk(2))
    log_mean = logs.logsumexp(dim=0) - math.log(2.0)
    mean = log_mean.exp()
    divergence = (mean * (log_mean - logs.mean(dim=0))).sum(dim=1)
    entropy = -(mean * log_mean).sum(dim=1)
    return (divergence + _ENTROPY * entropy).mean()
