"""Warnings, before votes are spent, about parts that fit in shape but hardly go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dsmooth.classifiers.base import Classifier
from dsmooth.denoisers.names import TRAINED_SIDE
from dsmooth.denoisers.trained_for import noise_of
from dsmooth.theory.laws.base import Law

__all__ = ["mismatches", "strange_labels"]

_SEEN_AS: Final = {"lighting": "gaussian"}  # on the pixels
_FEW = 10  # labels that say nothing of their classes yet


def mismatches(classifier: Classifier, denoiser: object, law: Law) -> Iterator[str]:
    """A line for each way in which denoiser, classifier and noise do not go together."""
    trained = getattr(denoiser, "sigma_range", None)
    if trained is not None and not trained[0] <= law.level <= trained[1]:
        yield f"the denoiser was trained for sigma {trained[0]:g} to {trained[1]:g}; {law.level:g} is outside"
    noise = noise_of(denoiser)
    if noise is not None and noise != _SEEN_AS.get(law.name, law.name):
        yield f"the denoiser was trained for {noise} noise, not for {law.name} noise: expect fewer correct answers"
    name, side = getattr(denoiser, "name", None), classifier.input_size
    if name not in TRAINED_SIDE or side is None:
        return
    least, most = TRAINED_SIDE[name]
    if not least <= side <= most:
        fit = " or ".join([other for other, (low, high) in TRAINED_SIDE.items() if low <= side <= high][:2])
        yield (
            f"the denoiser {name} was trained on images of {least} pixels a side{'' if least == most else ' and more'}, and "
            f"{classifier.name} takes {side}{f': use {fit}' if fit else ''}"
        )


def strange_labels(labels: Sequence[int | None], class_names: Sequence[str] | None) -> str | None:
    """What is strange about images whose labels are all among the first few of very many classes; None for nothing."""
    known = [label for label in labels if label is not None]
    if class_names is None or len(known) < _FEW or max(known) >= len(class_names) / _FEW:
        return None
    return (
        f"labels go from {min(known)} to {max(known)}, but the classifier has {len(class_names):,} classes: if they number "
        "other classes, every answer will count as wrong"
    )
