"""Many images share batches of one shape, and memory does not grow with the number of samples.

Each image is a Poll that asks for chunks of samples. The scheduler fills every batch with the chunks of whichever images
still need some, hands batches to worker threads (one torch thread each), and takes the answers in order. Which rows go
into which batch is decided before any answer is known and does not depend on the number of workers.
"""

from __future__ import annotations

import operator
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dsmooth.errors import BadModel
from dsmooth.images import LabelledImage
from dsmooth.records.digests import digest_image
from dsmooth.records.querylog import Address
from dsmooth.smoothing.chunks import Chunk, MasterKey, Phase
from dsmooth.smoothing.pipeline import Pipeline, default_batch
from dsmooth.smoothing.sampler import Sampler
from dsmooth.theory.bounds import check_count
from dsmooth.theory.certificate import Label, Votes
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.noises import Gaussian

__all__ = ["OnVotes", "Poll", "Scheduler"]

_NAMES = {Phase.SELECTION: "n0"}
_KEPT = 4  # the probe keeps every fourth row and changes the others


@dataclass
class Poll:
    """One image being put to the vote: how many samples each phase needs, has asked for, and has counted."""

    image: LabelledImage
    digest: str
    demand: Mapping[Phase, int]
    streams: Mapping[Phase, bytes]
    batch: int
    counts: dict[Phase, Counter[Label]] = field(default_factory=dict)
    trials: Counter[Phase] = field(default_factory=Counter)
    asked: Counter[Phase] = field(default_factory=Counter)
    nondeterministic: bool = False
    """The probe saw the same rows answered differently: the classifier brings randomness of its own."""

    def take(self, room: int) -> Chunk | None:
        """The next samples to draw, at most `room`; None when all have been asked for."""
        for phase, needed in self.demand.items():
            first = self.asked[phase]
            if first < needed:
                count = min(room, needed - first)
                self.asked[phase] += count
                return Chunk(phase, self.streams[phase], first, count)
        return None

    def receive(self, chunk: Chunk, labels: Sequence[Label | None]) -> None:
        """Counts the answers to a chunk; None is a trial without a vote."""
        self.trials[chunk.phase] += chunk.count
        self.counts.setdefault(chunk.phase, Counter()).update(label for label in labels if label is not None)

    @property
    def done(self) -> bool:
        return all(self.trials[phase] >= needed for phase, needed in self.demand.items())

    def votes(self, phase: Phase) -> Votes:
        """The votes of one phase so far."""
        return Votes(self.counts.get(phase, {}), self.trials[phase])


OnVotes = Callable[[Poll, Chunk, Sequence[Label | None]], None]
"""Called for every chunk, in order of samples within each image and phase."""


def _nothing(poll: Poll, chunk: Chunk, labels: Sequence[Label | None]) -> None:
    return None


@dataclass(frozen=True)
class Scheduler:
    """Puts a stream of images to the vote.

    `batch` rows at once (None: chosen by image size); `workers` threads. Images of one shape share batches; at a change
    of shape, and at the end, the batch is padded, because a kernel may round differently at another batch size and the
    votes must come from one fixed function. That function is probed once for each shape: a batch again, and its rows again
    in other company. Answers that depend on the company are refused (BadModel): such votes would not be independent.
    """

    pipeline: Pipeline
    noise: Gaussian
    batch: int | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("batch", "workers"):
            if (value := getattr(self, name)) is not None:
                check_count(value, name)

    def run(
        self,
        images: Iterable[LabelledImage],
        demand: Mapping[Phase, int],
        key: MasterKey,
        *,
        on_votes: OnVotes = _nothing,
    ) -> Iterator[Poll]:
        """The finished polls, in the order of the images; `demand` says how many samples each phase takes."""
        for phase, count in demand.items():
            check_count(count, _NAMES.get(phase, "n"))
        sampler = Sampler(self.noise)
        polls = (self._poll(image, demand, key) for image in images)
        batches = self._batches(polls)
        waiting: deque[tuple[_Batch, Future[list[Label | None]]]] = deque()
        probed: dict[tuple[int, ...], bool] = {}
        threads = torch.get_num_threads()
        if self.pipeline.remote is not None:
            self.pipeline.remote.begin()
        executor = ThreadPoolExecutor(self.workers, "dsmooth", initializer=torch.set_num_threads, initargs=(1,))
        try:
            while True:
                while len(waiting) <= self.workers and (batch := next(batches, None)) is not None:
                    first = batch[0][0]
                    shape = first.image.pixels.shape
                    if shape not in probed:
                        probed[shape] = executor.submit(self._probe, sampler, first, key).result()
                    for poll, _ in batch:
                        poll.nondeterministic = probed[shape]
                    waiting.append((batch, executor.submit(self._answer, sampler, batch)))
                if not waiting:
                    return
                batch, future = waiting.popleft()
                yield from _distribute(batch, future.result(), on_votes)
        except BaseException:
            if self.pipeline.remote is not None:  # nobody waits any more for what its threads are waiting for
                self.pipeline.remote.interrupt()
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)

    def _poll(self, image: LabelledImage, demand: Mapping[Phase, int], key: MasterKey) -> Poll:
        digest = digest_image(image.pixels)
        streams = {phase: key.stream(digest, self.noise, phase) for phase in demand}
        batch = self.batch or default_batch(*image.pixels.shape[:2])
        return Poll(image, digest, dict(demand), streams, batch)

    def _batches(self, polls: Iterator[Poll]) -> Iterator[_Batch]:
        """Rows packed in order of the images; nothing here looks at an answer."""
        rows: list[tuple[Poll, Chunk]] = []
        filled = 0
        for poll in polls:
            if rows and rows[0][0].image.pixels.shape != poll.image.pixels.shape:
                yield rows
                rows, filled = [], 0
            while (chunk := poll.take(poll.batch - filled)) is not None:
                rows.append((poll, chunk))
                filled += chunk.count
                if filled == poll.batch:
                    yield rows
                    rows, filled = [], 0
        if rows:
            yield rows

    def _probe(self, sampler: Sampler, poll: Poll, key: MasterKey) -> bool:
        """Whether the same rows are answered differently; raises BadModel where only their company makes the difference."""
        stream, rows = key.stream(poll.digest, self.noise, Phase.PROBE), poll.batch
        steps, _ = sampler.draw(Chunk(Phase.PROBE, stream, 0, 2 * rows), poll.image.pixels.size)
        noisy = (steps.reshape(2, rows, *poll.image.pixels.shape) + poll.image.pixels).astype(np.int16)
        ask: Callable[[npt.NDArray[np.int16]], Any] = self.pipeline.labels
        same: Callable[[Any, Any], bool] = operator.eq
        if self.pipeline.remote is not None:  # it sees each image alone, and costs money: only the denoiser is probed
            ask, same = lambda rows: self.pipeline.images(rows).float().numpy(), _images_alike
        expected = ask(noisy[0])
        if not same(ask(noisy[0]), expected):
            return True
        for filler in (0, LEVELS):  # black company, then white: what looks at its neighbours will look elsewhere
            mixed = noisy[1] - poll.image.pixels + np.int16(filler)
            mixed[::_KEPT] = noisy[0, ::-1][::_KEPT]
            if not same(ask(mixed)[::_KEPT], expected[::-1][::_KEPT]):
                raise BadModel(
                    "the classifier answers an image differently in other company (batch statistics?), so its votes are "
                    "not independent: put all of it in eval mode, or pass batch 1"
                )
        return False

    def _answer(self, sampler: Sampler, batch: _Batch) -> list[Label | None]:
        """Draw the noise of a batch, ask, and take back the answers of its rows."""
        first = batch[0][0]
        shape = first.image.pixels.shape
        noisy = np.empty((first.batch, *shape), dtype=np.int16)
        undecided = np.zeros(first.batch, dtype=np.bool_)
        row = 0
        for poll, chunk in batch:
            steps, lost = sampler.draw(chunk, poll.image.pixels.size)
            np.add(steps.reshape(-1, *shape), poll.image.pixels, out=noisy[row : row + chunk.count], casting="unsafe")
            undecided[row : row + chunk.count] = lost
            row += chunk.count
        noisy[row:] = noisy[0]
        labels = self.pipeline.labels(noisy, _addresses(batch))[:row]
        return [None if lost else label for label, lost in zip(labels, undecided, strict=False)]


_Batch = list[tuple[Poll, Chunk]]


def _addresses(batch: _Batch) -> list[Address]:
    return [
        Address(poll.digest, chunk.phase.value, chunk.first + i) for poll, chunk in batch for i in range(chunk.count)
    ]


def _images_alike(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    """The same images, but for the last digits that a kernel may round differently at another place in the batch."""
    return np.allclose(one, other, rtol=0.0, atol=1.0 / LEVELS, equal_nan=True)


def _distribute(batch: _Batch, labels: Sequence[Label | None], on_votes: OnVotes) -> Iterator[Poll]:
    row = 0
    for poll, chunk in batch:
        part = labels[row : row + chunk.count]
        if len(part) != chunk.count:
            raise BadModel(f"expected {chunk.count} answers, got {len(part)}")
        poll.receive(chunk, part)
        on_votes(poll, chunk, part)
        row += chunk.count
        if poll.done:
            yield poll
