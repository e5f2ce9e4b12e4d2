"""The frozen classifiers that objectives and judgement ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from dsmooth.classifiers.base import DifferentiableClassifier, labels_of
from dsmooth.classifiers.specs import load_classifier
from dsmooth.errors import BadModel, BadParameter
from dsmooth.theory.certificate import Label

__all__ = ["Surrogate", "load_surrogates"]


@dataclass(frozen=True)
class Surrogate:
    """A classifier that stands for the one to be protected, or is it: images in [0, 1] -> logits, frozen, in eval mode."""

    name: str
    digest: str
    network: nn.Module

    def answer(self, images: Tensor) -> Sequence[Label | None]:
        """Its answers to images (B, C, H, W)."""
        return labels_of(self.network(images).float())


def load_surrogates(specs: Sequence[str]) -> list[Surrogate]:
    """The classifiers of these specs, on the CPU; raises BadModel where gradients cannot pass through one."""
    surrogates: list[Surrogate] = []
    for spec in specs:
        classifier = load_classifier(spec)
        if not isinstance(classifier, DifferentiableClassifier):
            raise BadModel(f"expected surrogates that gradients pass through (timm, cifar, import), got {spec!r}")
        model, _, file = spec.partition("@")
        name = f"{model}@{Path(file).stem}" if file else model
        if any(held.name == name for held in surrogates):
            raise BadParameter(f"expected each surrogate once, got {name} twice")
        surrogates.append(Surrogate(name, classifier.digest(), classifier.network()))
    return surrogates
