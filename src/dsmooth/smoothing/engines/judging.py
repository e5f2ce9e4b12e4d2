"""Whether a worker elsewhere runs the same function: to rows that are no votes the same noise, and the same answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.engines.base import Block, Part
from dsmooth.smoothing.engines.worker import Worker
from dsmooth.smoothing.independence import probe_stream
from dsmooth.theory.votes import Label, Phase

__all__ = ["Seen", "difference", "probe_of", "seen"]

_ROWS = 64  # at least


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker made of a block."""

    noise: str
    """SHA-256 of its rows: the same on every machine, whatever it computes with."""
    labels: list[Label | None]
    chance: bool
    """The same rows are answered differently, so that labels say nothing."""


def probe_of(block: Block) -> list[Block]:
    """At least 64 rows of the block's first image, in batches of its shape, from a stream that no vote uses."""
    part, rows = block.parts[0], block.rows
    stream = probe_stream(part.chunk.stream)
    return [
        Block((Part(part.pixels, part.image, Chunk(Phase.PROBE, stream, first, rows)),), rows)
        for first in range(0, _ROWS, rows)
    ]


def seen(worker: Worker, blocks: Sequence[Block]) -> list[Seen]:
    """What this worker makes of these blocks."""
    return [_seen(worker, block) for block in blocks]


def difference(one: Sequence[Seen], other: Sequence[Seen]) -> str | None:
    """What two workers made differently of the same blocks, in words; None where nothing."""
    if any(a.noise != b.noise for a, b in zip(one, other, strict=True)):
        return "draws other noise"
    fixed = [(a, b) for a, b in zip(one, other, strict=True) if not (a.chance or b.chance)]
    pairs = [pair for a, b in fixed for pair in zip(a.labels, b.labels, strict=True)]
    differing = sum(a != b for a, b in pairs)
    return f"answers {differing} of {len(pairs)} images differently" if differing else None


def _seen(worker: Worker, block: Block) -> Seen:
    answers = worker.answer(block)
    steps = worker.source.noisy([(part.pixels, part.chunk) for part in block.parts], block.rows).steps
    drawn = steps.cpu().numpy() if isinstance(steps, torch.Tensor) else steps
    return Seen(hashlib.sha256(drawn.tobytes()).hexdigest(), list(answers.labels), answers.chance)
