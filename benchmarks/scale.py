"""What a driver costs, and what many workers bring: the numbers of docs/scale.md.

python -m benchmarks.scale             about six minutes on two cores
python -m benchmarks.scale --rounds 5
"""

from __future__ import annotations

import argparse
import datetime
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
from torch import nn

from benchmarks.run import processor
from dsmooth import SmoothedClassifier, open_images
from dsmooth.backends.eager import cores
from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.runs.certify import certify_run
from dsmooth.runs.shards import Shard, merge_shards
from dsmooth.smoothing.engines import actors
from dsmooth.smoothing.engines.base import Answers, Block, Engine, Spread
from dsmooth.smoothing.session import Session

SIGMA, ROWS, SIDE = 0.25, 50, 32


class Instant(Engine):
    """Answers at once and always alike: all that is left of a run's time is the driver's."""

    here: ClassVar[bool] = True

    def __init__(self, depth: int) -> None:
        self.workers, self._depth, self.blocks = depth - 1, depth, 0

    @property
    def depth(self) -> int:
        return self._depth

    @classmethod
    def check(cls, spread: Spread, *, billed: bool) -> None:
        """It can do anything."""

    def _submit(self, block: Block) -> Future[Answers]:
        self.blocks += 1
        done: Future[Answers] = Future()
        done.set_result(Answers([1] * block.samples))
        return done

    def close(self) -> None:
        """Nothing runs."""


class Undriven(SmoothedClassifier):
    """A smoothed classifier whose networks take no time, with so many blocks under way."""

    depth = 512

    @cached_property
    def engine(self) -> Instant:
        return Instant(self.depth)

    @cached_property
    def session(self) -> Session:  # type: ignore[override]
        return Session(self.engine, self.question(), sizes=self.sizes, ahead=False, canaries=False)


class Small(nn.Module):
    """A network that takes less time than its noise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = x.float().mean(dim=(1, 2, 3)) - 0.5
        return torch.stack([-margin, margin], dim=1)


def images(folder: Path, count: int, side: int = SIDE) -> Any:
    """So many random images."""
    path = folder / f"{count}-of-{side}.npz"
    if not path.exists():
        np.savez(path, images=np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))
    return open_images(path)


def driver(folder: Path, rounds: int) -> Iterator[str]:
    """CPU time of a driver whose workers take none, by blocks and by records."""

    def spent(count: int, n: int, depth: int) -> tuple[float, int]:
        smoothed = Undriven(Small(), None, SIGMA, batch=ROWS, dtype="fp32", backend="eager", workers=1)
        smoothed.depth = depth
        chosen, started = images(folder, count), time.process_time()
        with tempfile.TemporaryDirectory() as out:
            certify_run(smoothed, chosen, Path(out) / "run", n0=ROWS, n=n, seed=0, thumbnails=False)
        smoothed.close()
        return time.process_time() - started, smoothed.engine.blocks

    yield "| blocks under way | CPU a block | CPU a record |"
    yield "| --- | --- | --- |"
    few, many, short, long = 10, 400, 1000, 50_000
    for depth in (16, 512, 4096):
        a_block, a_record = [], []
        for _ in range(rounds):
            (one, base), (two, blocks), (three, others) = (
                spent(few, short, depth), spent(few, long, depth), spent(many, short, depth),
            )  # fmt: skip
            a_block.append((two - one) / (blocks - base))
            a_record.append((three - one - a_block[-1] * (others - base)) / (many - few))
        yield f"| {depth} | {micro(a_block)} | {micro(a_record)} |"


def calls(folder: Path, rounds: int) -> Iterator[str]:
    """CPU time of a driver of two processes of Ray, by the number of blocks in a call."""
    yield "| blocks a call | CPU a block, all of the driver | bytes a block, sent |"
    yield "| --- | --- | --- |"
    for most in (1, 16, 256):
        with (
            mock.patch.object(actors, "_MOST", most),
            SmoothedClassifier(Small(), None, SIGMA, batch=ROWS, engine="ray", workers=2, dtype="fp32") as smoothed,
        ):
            pixels = [image.pixels for image in images(folder, 10)]
            smoothed.certify(pixels, n0=ROWS, n=10_000, seed=0)
            measured = []
            for _ in range(rounds):
                started = time.process_time()
                smoothed.certify(pixels, n0=ROWS, n=20_000, seed=0)
                measured.append((time.process_time() - started) / (10 * 20_050 / ROWS))
            yield f"| {most} | {micro(measured)} | {sent_bytes(most)} |"


def sent_bytes(blocks: int) -> int:
    """Bytes of a block in a call of so many, about one image, without its pixels."""
    from dsmooth.smoothing.chunks import Chunk
    from dsmooth.smoothing.engines.base import Part
    from dsmooth.smoothing.engines.remote import packed
    from dsmooth.theory.votes import Phase

    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    call = [
        Block((Part(pixels, "0" * 64, Chunk(Phase.ESTIMATION, bytes(16), i * ROWS, ROWS)),), ROWS)
        for i in range(blocks)
    ]
    return round(len(pickle.dumps(packed(call)[0])) / blocks)


def merging(folder: Path, rounds: int) -> Iterator[str]:
    """CPU time of a merge of four shards."""
    yield "| records | votes of each | CPU a record |"
    yield "| --- | --- | --- |"
    for count, n in ((400, 1000), (40, 100_000)):
        measured = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as out:
                for shard in (None, *(Shard(number, 4) for number in range(4))):
                    smoothed = Undriven(Small(), None, SIGMA, batch=ROWS, dtype="fp32", backend="eager", workers=1)
                    certify_run(
                        smoothed, images(folder, count), Path(out) / "run", n0=ROWS, n=n, seed=0,
                        plan=shard is None, shard=shard,
                    )  # fmt: skip
                    smoothed.close()
                started = time.process_time()
                merge_shards(Path(out) / "run")
                measured.append((time.process_time() - started) / count)
        yield f"| {count} | {n:,} | {micro(measured)} |"


def beside_threads(folder: Path, rounds: int) -> Iterator[str]:
    """2 actors against 2 threads: ResNet-56 on 32 px, warm, in turn."""
    classifier, count, n0, n = TorchClassifier(CifarResNet(56), name="ResNet-56"), 8, 100, 1000
    pixels = [image.pixels for image in images(folder, count)]
    times: dict[str, list[float]] = {"threads": [], "ray": []}
    with ExitStack() as stack:
        opened = {
            engine: stack.enter_context(
                SmoothedClassifier(
                    classifier, None, SIGMA, dtype="fp32", backend="eager", batch=ROWS, engine=engine, workers=2
                )
            )
            for engine in times
        }
        for smoothed in opened.values():  # all workers are there, and know how long a block takes
            smoothed.certify(pixels, n0=n0, n=n, seed=0)
        for _ in range(rounds):
            for engine, smoothed in opened.items():
                times[engine].append(took(lambda smoothed=smoothed: smoothed.certify(pixels, n0=n0, n=n, seed=0)))
    threads, actors_ = (count * (n0 + n) / statistics.median(times[engine]) for engine in ("threads", "ray"))
    ratios = [one / other for one, other in zip(times["threads"], times["ray"], strict=True)]
    yield "| samples a second, 2 threads | 2 actors | 2 actors against 2 threads | each round |"
    yield "| --- | --- | --- | --- |"
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    yield f"| {threads:,.0f} | {actors_:,.0f} | {statistics.median(ratios):.2f} | {each} |"


def took(call: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def micro(measured: list[float]) -> str:
    """The median in microseconds."""
    return f"{1e6 * statistics.median(measured):,.0f} µs"


def main() -> None:
    """Prints the tables as they are finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("driver", "calls", "merging", "beside_threads"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{processor()}, {cores()} cores, {datetime.date.today()}, medians of {given.rounds} rounds", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for part in (driver, calls, merging, beside_threads):
            if given.only in (None, part.__name__):
                print(f"\n{part.__doc__}\n", flush=True)
                for line in part(Path(folder), given.rounds):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
