"""Is it one fixed function, row by row? Asked once for each shape of batches, before the first vote."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dsmooth.errors import BadModel
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.smoothing.sources.base import Rows, Source
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.votes import Phase

if TYPE_CHECKING:
    from dsmooth.smoothing.engines.base import Block

__all__ = ["depends_on_chance", "probe_stream"]

_KEPT = 4  # every fourth row is kept, the others are changed


def probe_stream(stream: bytes) -> bytes:
    """A stream that follows from this one, and that no vote uses."""
    return hashlib.blake2b(stream, digest_size=16, person=b"dsmooth.probe").digest()


def depends_on_chance(pipeline: Pipeline, source: Source, block: Block) -> bool:
    """Whether the same rows are answered differently; raises BadModel where the rest of the batch makes the difference.

    The rows are samples of the block's first image, from a stream that nothing else uses.
    """
    pixels, rows = block.parts[0].pixels, block.rows
    stream = probe_stream(block.parts[0].chunk.stream)

    def batch(image: Any, first: int) -> Rows:
        made = source.noisy([(image, Chunk(Phase.PROBE, stream, first, rows))], rows)
        return replace(made, undecided=None)  # the networks are compared, not the votes

    ask: Callable[[Rows], Any] = pipeline.labels
    same: Callable[[Any, Any], bool] = operator.eq
    if pipeline.classifier.traits.billed:  # it sees each image alone, and costs money: only the denoiser is probed
        ask, same = pipeline.images, _images_alike
    noisy = batch(pixels, 0)
    expected = ask(noisy)
    if not same(ask(noisy), expected):
        return True
    for filler in (
        0,
        LEVELS,
    ):  # black images around it, then white ones: what looks at its neighbours will look elsewhere
        mixed = batch(np.full_like(pixels, filler), rows)
        mixed.steps[::_KEPT] = _backwards(noisy)[::_KEPT]
        if not same(ask(mixed)[::_KEPT], _reversed(expected)[::_KEPT]):
            raise BadModel(
                "the classifier's answer to an image depends on the other images in the batch (batch statistics?), so its "
                "votes are not independent: put all of it in eval mode, or pass batch 1"
            )
    return False


def _backwards(rows: Rows) -> Any:
    steps = rows.steps
    return steps.flip(0) if isinstance(steps, torch.Tensor) else steps[::-1]


def _reversed(answers: Any) -> Any:
    return answers.flip(0) if isinstance(answers, torch.Tensor) else answers[::-1]


def _images_alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """The same images, but for the last digits that a kernel may round differently at another place in the batch."""
    return torch.allclose(one.float(), other.float(), rtol=0.0, atol=1.0 / LEVELS, equal_nan=True)
