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

__all__ = ["Judge", "Seen", "seen"]

_ROWS = 64  # at least


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker made of a block."""

    noise: str
    """SHA-256 of its rows: the same on every machine, whatever it computes with."""
    labels: list[Label | None]
    chance: bool
    """The same rows are answered differently, so that labels say nothing."""


class Judge:
    """What this process makes of probes, with which others are compared: it answers each first."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._known: dict[tuple[int, ...], tuple[list[Block], list[Seen]]] = {}

    def probe(self, shape: tuple[int, ...], block: Block) -> list[Block]:
        """What is asked before anybody gets blocks of this shape (rows, H, W, C), of which `block` is one."""
        if shape not in self._known:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)  # as over there
            try:
                blocks = _probe_of(block)
                self._known[shape] = blocks, seen(self._worker, blocks)
            finally:
                torch.set_num_threads(threads)
        return self._known[shape][0]

    def difference(self, shape: tuple[int, ...], others: Sequence[Seen]) -> str | None:
        """What another process made differently of the probe of this shape, in words; None where nothing."""
        return _difference(others, self._known[shape][1])


def _probe_of(block: Block) -> list[Block]:
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


def _difference(one: Sequence[Seen], other: Sequence[Seen]) -> str | None:
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
