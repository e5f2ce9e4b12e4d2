"""A source and the networks behind it: what an engine runs, wherever that is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from dsmooth.backends.choice import backend_named
from dsmooth.classifiers.base import Classifier
from dsmooth.denoisers.base import Denoise, Denoiser
from dsmooth.errors import BadModel
from dsmooth.records.querylog import Address
from dsmooth.smoothing.engines.base import Answers, Block, Part
from dsmooth.smoothing.independence import depends_on_chance
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.laws.base import Law

__all__ = ["Recipe", "Worker"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is smoothed and how it runs: values from which a worker can be made anywhere."""

    classifier: Classifier
    denoiser: Denoiser | Denoise | None
    law: Law
    backend: str
    dtype: str


class Worker:
    """Answers blocks; as many threads as the pipeline has networks may share it.

    Each shape of batches is probed once, before the first answer of that shape is given. threads: copies of the networks;
    None: what the backend says.
    """

    def __init__(self, recipe: Recipe, threads: int | None = None) -> None:
        backend = backend_named(recipe.backend, recipe.dtype, threads)
        self.recipe = recipe
        self.pipeline = Pipeline(recipe.classifier, recipe.denoiser, recipe.law.level, backend)
        self.source = source_of(recipe.law, backend.device)
        self._chance: dict[tuple[int, ...], bool] = {}
        self._probing = threading.Lock()

    def answer(self, block: Block) -> Answers:
        """Draw the noise of a block, ask, and take back the answers of its samples."""
        chance = self._probed(block)
        noisy = self.source.noisy([(part.pixels, part.chunk) for part in block.parts], block.rows)
        labels = self.pipeline.labels(noisy, addresses(block.parts))
        return Answers(labels[: block.samples], chance)

    def _probed(self, block: Block) -> bool:
        shape = (block.rows, *block.shape)
        if shape not in self._chance:
            with self._probing:
                if shape not in self._chance:
                    chance = depends_on_chance(self.pipeline, self.source, block)
                    if chance and self.source.exhaustive:
                        raise BadModel(
                            "the networks answer the same image differently, but a deterministic certificate needs one "
                            "fixed answer: put all of them in eval mode, or use noise that is drawn (gaussian, uniform)"
                        )
                    self._chance[shape] = chance
        return self._chance[shape]


def addresses(parts: Sequence[Part]) -> list[Address]:
    """The address of each sample, in order."""
    return [
        Address(part.image, part.chunk.phase.value, part.chunk.first + i)
        for part in parts
        for i in range(part.chunk.count)
    ]
