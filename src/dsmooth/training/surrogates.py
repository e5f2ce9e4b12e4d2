"""The frozen classifiers that objectives and judgement ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dsmooth.backends.folding import folded_if_same
from dsmooth.classifiers.base import DifferentiableClassifier, labels_of
from dsmooth.classifiers.specs import load_classifier
from dsmooth.errors import BadImage, BadModel, BadParameter, DsmoothError, first_line
from dsmooth.images.sets import ImageSet
from dsmooth.services.catalogue import is_service
from dsmooth.theory.votes import Label

__all__ = ["Surrogate", "load_surrogates", "ready"]


@dataclass(frozen=True)
class Surrogate:
    """A classifier that stands for the one to be protected, or is it: images in [0, 1] -> logits, frozen, in eval mode."""

    name: str
    digest: str
    network: nn.Module
    class_names: Sequence[str] | None = None
    """What the class indices mean, where that is known."""

    def answer(self, images: Tensor) -> Sequence[Label | None]:
        """Its answers to images (B, C, H, W)."""
        return labels_of(self.network(images).float())


def load_surrogates(specs: Sequence[str], *, mirrored: bool = False) -> list[Surrogate]:
    """The classifiers of these specs, on the CPU; raises BadModel where gradients cannot pass through one.

    `mirrored`: their logits averaged over images and mirror images.
    """
    surrogates: list[Surrogate] = []
    for spec in specs:
        classifier = None if is_service(spec) else load_classifier(spec)
        if mirrored and classifier is not None:
            classifier = classifier.mirrored()
        if not isinstance(classifier, DifferentiableClassifier):
            raise BadModel(f"expected surrogates that gradients pass through (not onnx, not a service), got {spec!r}")
        name, digest = _name_of(spec), classifier.digest()
        if any(held.digest == digest for held in surrogates):
            raise BadParameter(f"expected each surrogate once, got {name} twice")
        if any(held.name == name for held in surrogates):
            name = f"{name}#{digest[:8]}"
        surrogates.append(Surrogate(name, digest, classifier.network(), classifier.class_names))
    return surrogates


def ready(surrogate: Surrogate, sets: Sequence[ImageSet], largest: int, labels: bool) -> Surrogate:
    """The surrogate, quicker where its batch normalisation folds.

    Raises BadInput unless it accepts such images and, where `labels` count, knows their classes.
    """
    pixels = sets[0][0].pixels[:largest, :largest]
    probe = torch.from_numpy(pixels[None].transpose(0, 3, 1, 2).copy()).float() / 255
    label = max((label for images in sets for label in images.labels if label is not None), default=0)
    try:
        with torch.inference_mode():
            classes = surrogate.network(probe).shape[1]
    except DsmoothError:
        raise
    except Exception as error:  # whatever a stranger's network raises is about the network
        line = first_line(error)
        raise BadModel(f"{surrogate.name} does not accept images of shape {tuple(probe.shape)}: {line}") from error
    if labels and label >= classes:
        raise BadImage(
            f"expected labels from 0 to {classes - 1} for {surrogate.name}, got {label}: pass --labels with its classes, "
            "or use the objective stab"
        )
    with torch.no_grad():
        return replace(surrogate, network=folded_if_same(surrogate.network, probe, parts=True))


def _name_of(spec: str) -> str:
    """The spec with its file in short: by its folder, where the file is named as every trained model is."""
    model, _, file = spec.partition("@")
    if not file:
        return model
    path = Path(file)
    return f"{model}@{path.absolute().parent.name if path.stem == 'model' else path.stem}"
