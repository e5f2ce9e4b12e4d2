"""Ask again for votes that were recorded: the same noise, the same networks, batches of the same shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsmooth.backends.base import Backend
from dsmooth.classifiers.base import Classifier
from dsmooth.denoisers.base import Denoise
from dsmooth.errors import BadParameter, MissingPackage
from dsmooth.images.sets import LabelledImage
from dsmooth.records.schema import Record
from dsmooth.runs.certify import versions
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.theory.votes import Label, Phase

__all__ = ["Replay", "phases_of", "replay_votes", "smoothed_like", "votes_in"]

_BEARING = ("torch", "machine", "cpu")
"""Versions that decide how a network rounds."""
_BEARING_FOR = {"openvino": ("openvino",), "cuda": ("gpu",)}
"""And those that do so for one backend only."""


@dataclass(frozen=True)
class Replay:
    """How many votes were asked for again, how many were the same, and whether the circumstances were."""

    asked: int
    same: int
    circumstances: tuple[str, ...]
    """What is different here from the run, in words; where nothing is, every vote must be the same."""


def phases_of(record: Record) -> list[tuple[Phase, int]]:
    """The phases in the order of the record's packed votes, and how many samples each has."""
    counted = [(Phase.SELECTION, record.selection["trials"]), (Phase.ESTIMATION, record.estimation["trials"])]
    return [(phase, trials) for phase, trials in counted if phase in record.asked.demand]


def smoothed_like(
    record: Record, classifier: Classifier | str, denoiser: Denoise | str | None, *, workers: int | None = 1
) -> SmoothedClassifier:
    """The smoothed classifier that this record's votes are of, as far as that can be had here: else in plain torch."""
    question = record.asked

    def made(backend: str, dtype: str) -> SmoothedClassifier:
        return SmoothedClassifier(
            classifier, denoiser, law=record.law, dtype=dtype, backend=backend, batch=record.batch[0], workers=workers
        )

    try:
        return made(question.backend, question.dtype)
    except (BadParameter, MissingPackage):  # another machine's backend
        return made("eager", "bf16" if question.dtype == "bf16" else "fp32")


def replay_votes(
    smoothed: SmoothedClassifier,
    record: Record,
    labels: Sequence[Label | None],
    image: LabelledImage,
    share: float,
    *,
    on_votes: Callable[[int], None] = lambda count: None,
) -> Replay:
    """A random `share` of the votes (at least one; 1: all), asked again, beside the labels that were recorded."""
    samples = [(phase, i) for phase, trials in phases_of(record) for i in range(trials)]
    chosen = sorted(np.random.default_rng().choice(len(samples), votes_in(record, share), replace=False).tolist())
    streams = {phase: bytes.fromhex(record.key[phase.value]) for phase, _ in phases_of(record)}
    same = 0
    for place, label in zip(chosen, smoothed.replay(image, streams, [samples[i] for i in chosen]), strict=True):
        same += label == labels[place]
        on_votes(1)
    return Replay(len(chosen), same, tuple(_differences(record, smoothed.pipeline.backend)))


def votes_in(record: Record, share: float) -> int:
    """How many votes a replay of this share asks for."""
    total = sum(trials for _, trials in phases_of(record))
    return min(total, max(1, round(share * total)))


def _differences(record: Record, backend: Backend) -> list[str]:
    here = versions()
    found = [
        f"{name} {here.get(name)} in place of {record.versions.get(name)}"
        for name in (*_BEARING, *_BEARING_FOR.get(record.asked.backend, ()))
        if here.get(name) != record.versions.get(name)
    ]
    then = (record.asked.backend, record.asked.dtype)
    if then != (backend.name, backend.dtype):
        found.append(f"backend {backend.name} {backend.dtype} in place of {' '.join(then)}")
    if record.nondeterministic:
        found.append("the classifier brings randomness of its own")
    return found
