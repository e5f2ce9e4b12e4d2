"""What runs in a process of a cluster: a worker that is asked about many blocks in one call."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dsmooth.backends.versions import versions
from dsmooth.images.pixels import Pixels
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.engines.base import Answers, Block, Part
from dsmooth.smoothing.engines.judging import Seen, seen
from dsmooth.smoothing.engines.worker import Recipe, Worker

__all__ = ["Facts", "RemoteWorker", "Sent", "packed"]

Sent = Sequence[tuple[int, Sequence[tuple[int, str, Chunk]]]]
"""Blocks without their pixels: rows, and of each part the place of its image in the call, its digest and its samples."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a worker says of itself."""

    node: str
    pid: int
    versions: dict[str, str]


class RemoteWorker:
    """One thread and one copy of the networks. It gets the keys of streams, never the key that they follow from."""

    def __init__(self, recipe: Recipe) -> None:
        torch.set_num_threads(1)
        self._worker = Worker(recipe, 1)

    def facts(self) -> Facts:
        """What it is, once it has loaded the networks."""
        return Facts(socket.gethostname(), os.getpid(), versions())

    def probe(self, sent: Sent, *images: Pixels) -> list[Seen]:
        """What it makes of these blocks: not votes, but a way to tell it from another function."""
        return seen(self._worker, _blocks(sent, images))

    def ask(self, sent: Sent, *images: Pixels) -> tuple[list[Answers | Exception], float]:
        """The answers to each block, or what went wrong with it, and how many seconds all took."""
        started = time.perf_counter()
        return [self._answer(block) for block in _blocks(sent, images)], time.perf_counter() - started

    def _answer(self, block: Block) -> Answers | Exception:
        try:
            return self._worker.answer(block)
        except Exception as error:  # of this block alone
            return error


def packed(blocks: Sequence[Block]) -> tuple[Sent, dict[str, Pixels]]:
    """The blocks without their pixels, and each image once, in the order of its place."""
    places: dict[str, int] = {}
    images: dict[str, Pixels] = {}
    sent = []
    for block in blocks:
        parts = []
        for part in block.parts:
            images.setdefault(part.image, part.pixels)
            parts.append((places.setdefault(part.image, len(places)), part.image, part.chunk))
        sent.append((block.rows, parts))
    return sent, images


def _blocks(sent: Sent, images: Sequence[Pixels]) -> list[Block]:
    return [
        Block(tuple(Part(images[place], digest, chunk) for place, digest, chunk in parts), rows) for rows, parts in sent
    ]
