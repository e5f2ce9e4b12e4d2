"""Many images share batches of one shape, and memory does not grow with the number of samples.

The scheduler fills every batch with the samples that open images (tally.py) still want, opens another image when they want
no more for now, hands batches to worker threads (one torch thread each), and takes the answers in order. What goes into
a batch follows from answers that were taken before, in that order, and never from timing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

import torch

from dsmooth.errors import BadModel, Drifted
from dsmooth.images import LabelledImage
from dsmooth.records.digests import digest_image
from dsmooth.records.querylog import Address
from dsmooth.smoothing.batches import Batch, Batches
from dsmooth.smoothing.chunks import LIMITS, Chunk, MasterKey, Phase
from dsmooth.smoothing.cuda_sampler import CudaSampler
from dsmooth.smoothing.independence import depends_on_chance
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.smoothing.sampler import Sampler
from dsmooth.smoothing.tally import Tally, checked_demand
from dsmooth.theory.bounds import check_count
from dsmooth.theory.modes import Demand
from dsmooth.theory.noises import Gaussian
from dsmooth.theory.votes import Label

__all__ = ["OnRestart", "OnVotes", "Scheduler", "no_restart", "no_votes"]

_CANARY_EVERY = 200  # batches
_CANARIES = 4  # shapes: each keeps the images of its first batch in memory
_LOOK = 0.5  # seconds between looks whether the user interrupts


_T = TypeVar("_T")
_Source = Sampler | CudaSampler
_Asked = tuple[Batch, list[Label | None]]

OnVotes = Callable[[Tally, Chunk, Sequence[Label | None]], None]
"""Called with the answers that count, in order of samples within each image and phase."""


def no_votes(tally: Tally, chunk: Chunk, labels: Sequence[Label | None]) -> None:
    """Nobody listens."""


OnRestart = Callable[[Sequence[str], int], None]
"""Called where memory ran out: the images that start again, by key, and the new batch."""


def no_restart(keys: Sequence[str], batch: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Scheduler:
    """Puts a stream of images to the vote.

    `batch` rows at once (None: as many as fill `pixels`, a count of height x width, by default the backend's), in as many
    threads as the backend has workers. Images of one shape share batches; at a change of shape, and at the end, the batch
    is padded, because a kernel may round differently at another batch size and the votes must come from one fixed
    function. That function is probed once for each shape: a batch again, and its rows again in other company. Answers
    that depend on the company are refused (BadModel): such votes would not be independent. Every 200 batches, and at the
    end, the first batch is asked again: another answer than before raises Drifted. Where memory runs out the batch is
    halved, and the images in progress start again, with the same noise.
    """

    pipeline: Pipeline
    noise: Gaussian
    batch: int | None = None
    pixels: int | None = None
    ahead: bool = True
    """Whether rows that would be empty go to votes that a look may make superfluous: free here, not at a paid service."""

    def __post_init__(self) -> None:
        if self.batch is not None:
            check_count(self.batch, "batch", most=LIMITS["batch"])

    def rows(self, shape: tuple[int, ...]) -> int:
        """Rows of every batch of images (H, W, C)."""
        backend = self.pipeline.backend
        fitting = (self.pixels or backend.pixels) // (shape[0] * shape[1])
        return self.batch or min(backend.most_rows, max(1, fitting))

    def run(
        self,
        images: Iterable[LabelledImage],
        demand: Mapping[Phase, Demand],
        key: MasterKey,
        *,
        on_votes: OnVotes = no_votes,
        on_restart: OnRestart = no_restart,
    ) -> Iterator[Tally]:
        """The finished tallies, as they are finished: with fixed numbers of votes, in the order of the images.

        `demand` says how many votes each phase takes, or what decides that.
        """
        demand = checked_demand(demand)
        scheduler, ahead = self, iter(images)
        begun: dict[int, LabelledImage] = {}  # by identity: names may repeat

        def noted(ahead: Iterator[LabelledImage]) -> Iterator[LabelledImage]:
            for image in ahead:
                begun[id(image)] = image
                yield image

        while True:
            try:
                for tally in scheduler._run(noted(ahead), demand, key, on_votes):
                    del begun[id(tally.image)]
                    yield tally
                return
            except MemoryError as error:
                if not begun:
                    raise
                batch = scheduler.rows(next(iter(begun.values())).pixels.shape)
                if batch == 1:
                    raise BadModel("the memory does not suffice for a single image: use smaller networks") from error
                scheduler = replace(scheduler, batch=batch // 2)
                on_restart([image.key for image in begun.values()], batch // 2)
                ahead = chain(list(begun.values()), ahead)
                begun.clear()

    def _run(
        self, images: Iterable[LabelledImage], demand: Mapping[Phase, Demand], key: MasterKey, on_votes: OnVotes
    ) -> Iterator[Tally]:
        here, workers = Sampler(self.noise), self.pipeline.backend.workers
        sampler = self._sampler(here)
        room = Batches((self._tally(image, demand, key) for image in images), self.ahead)
        waiting: deque[tuple[Batch, Future[list[Label | None]]]] = deque()
        probed: dict[tuple[int, ...], bool] = {}
        canaries: dict[tuple[int, ...], _Asked] = {}
        threads = torch.get_num_threads()
        remote = self.pipeline.remote
        if remote is not None:
            remote.begin()
        executor = ThreadPoolExecutor(workers, "dsmooth", initializer=torch.set_num_threads, initargs=(1,))
        asked = 0
        try:
            while True:
                while len(waiting) <= workers and (batch := room.batch()):
                    first = batch[0][0]
                    shape = first.image.pixels.shape
                    if shape not in probed:
                        probed[shape] = _result(executor.submit(depends_on_chance, self.pipeline, here, first, key))
                    for tally, _ in batch:
                        tally.nondeterministic = probed[shape]
                    waiting.append((batch, executor.submit(self._answer, sampler, batch)))
                    asked += 1
                    if asked % _CANARY_EVERY == 0:
                        self._check(executor, sampler, canaries.values())
                if not waiting:
                    break
                batch, future = waiting.popleft()
                labels, shape = _result(future), batch[0][0].image.pixels.shape
                if remote is None and not probed[shape] and len(canaries) < _CANARIES:  # a service has its own
                    canaries.setdefault(shape, (batch, labels))
                for tally in _distribute(batch, labels, on_votes):
                    room.close(tally)
                    yield tally
            if asked > _CANARY_EVERY:
                self._check(executor, sampler, canaries.values())
        except BaseException:
            if remote is not None:  # nobody waits any more for what its threads are waiting for
                remote.interrupt()
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)

    def replay(
        self, image: LabelledImage, streams: Mapping[Phase, bytes], samples: Sequence[tuple[Phase, int]]
    ) -> Iterator[list[Label | None]]:
        """The answers to these samples (phase, number), in their order, in batches of the usual shape."""
        sampler = self._sampler(Sampler(self.noise))
        size = self.rows(image.pixels.shape)
        tally = Tally(image, digest_image(image.pixels), {}, streams, size)
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(1, "dsmooth", initializer=torch.set_num_threads, initargs=(1,)) as executor:
                for start in range(0, len(samples), size):
                    part = samples[start : start + size]
                    batch = [(tally, Chunk(phase, streams[phase], i, 1)) for phase, i in part]
                    yield _result(executor.submit(self._answer, sampler, batch))
        finally:
            torch.set_num_threads(threads)

    def _sampler(self, here: Sampler) -> _Source:
        """What draws the noise where the networks are."""
        device = self.pipeline.backend.device
        return CudaSampler(self.noise, device) if device.type == "cuda" else here

    def _tally(self, image: LabelledImage, demand: Mapping[Phase, Demand], key: MasterKey) -> Tally:
        digest = digest_image(image.pixels)
        streams = {phase: key.stream(digest, self.noise, phase) for phase in demand}
        return Tally(image, digest, demand, streams, self.rows(image.pixels.shape))

    def _check(self, executor: ThreadPoolExecutor, sampler: _Source, canaries: Iterable[_Asked]) -> None:
        """Raises Drifted where the first batch of a shape is answered differently than it was."""
        for batch, expected in canaries:
            now = _result(executor.submit(self._answer, sampler, batch))
            if now != expected:
                changed = sum(a != b for a, b in zip(now, expected, strict=True))
                raise Drifted(
                    f"the classifier answers {changed} of {len(now)} images differently than at the start of the run: "
                    f"its weights or its service changed; the images of the last {_CANARY_EVERY} batches are in doubt"
                )

    def _answer(self, sampler: _Source, batch: Batch) -> list[Label | None]:
        """Draw the noise of a batch, ask, and take back the answers of its rows."""
        noisy, undecided = sampler.noisy([(tally.image.pixels, chunk) for tally, chunk in batch], batch[0][0].batch)
        addresses = None if self.pipeline.remote is None else _addresses(batch)
        labels = self.pipeline.labels(noisy, addresses)[: sum(chunk.count for _, chunk in batch)]
        if not undecided.any():
            return labels
        return [None if lost else label for label, lost in zip(labels, undecided.tolist(), strict=False)]


def _result(future: Future[_T]) -> _T:
    """The result, waited for in short naps: a thread that blocks without end is deaf to an interruption that reached it just
    before it blocked (with many threads on busy cores one in seven), and on Windows to every one.
    """
    while not future.done():
        wait([future], timeout=_LOOK)
    return future.result()


def _addresses(batch: Batch) -> list[Address]:
    return [
        Address(tally.digest, chunk.phase.value, chunk.first + i) for tally, chunk in batch for i in range(chunk.count)
    ]


def _distribute(batch: Batch, labels: Sequence[Label | None], on_votes: OnVotes) -> Iterator[Tally]:
    """Counts the answers of a batch; yields the images that this finished."""
    row = 0
    for tally, chunk in batch:
        part = labels[row : row + chunk.count]
        if len(part) != chunk.count:
            raise BadModel(f"expected {chunk.count} answers, got {len(part)}")
        row += chunk.count
        if counted := tally.receive(chunk, part):
            on_votes(tally, replace(chunk, count=len(counted)), counted)
            if tally.done:
                yield tally
