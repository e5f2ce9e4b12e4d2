"""How long a call waits for its first vote, beyond the time of the batch that it is in.

python -m benchmarks.first_vote
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.hot_path import SIGMA, networks, without_networks
from benchmarks.paired import interval
from dsmooth.backends.choice import fastest
from dsmooth.images.sets import LabelledImage
from dsmooth.records.question import PREDICTION
from dsmooth.smoothing.batch_size import trial_batch
from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["line"]

SHAPE = (32, 32, 3)


def line(backend: str, dtype: str, rounds: int) -> str:
    """One line: medians over calls for another image each, for one batch of samples, at 32 px on one thread.

    The session is open and warm, and has nothing else to do. Where other programs want the cores, a batch takes longer or
    shorter by more than what is looked for: what a call waits for where there are no networks is measured beside it. At
    least 6 rounds: fewer give no interval.
    """
    denoiser, classifier = networks(32)
    smoothed = SmoothedClassifier(classifier, denoiser, SIGMA, dtype=dtype, backend=backend, workers=1)
    rows = smoothed.sizes.rows(SHAPE)
    call, batch = _call(smoothed, rows), _batch(smoothed, rows)
    without = _call(without_networks(smoothed, rows), rows)
    call(), without(), batch()  # compiles, allocates, probes
    beyond, rest, alone = [], [], []
    for number in range(rounds):
        took = {each: each() for each in ((call, batch) if number % 2 else (batch, call))}
        beyond.append(took[call] - took[batch])
        alone.append(took[batch])
        rest.append(without())
    return (
        f"from a call to its first vote: {_told(beyond)} beyond the {1000 * statistics.median(alone):.0f} ms of a batch; "
        f"{_told(rest)} without networks ({backend} {dtype}, 32 px, {rows} rows)"
    )


def _call(smoothed: SmoothedClassifier, rows: int) -> Callable[[], float]:
    """Seconds from a call to its first vote."""
    question, session = smoothed.question(bound=PREDICTION, n=rows), smoothed.session
    drawn = np.random.default_rng(0)

    def call() -> float:
        image = LabelledImage("image", drawn.integers(0, 256, SHAPE, dtype=np.uint8))
        voted: list[float] = []
        started = time.perf_counter()
        session.submit(image, question, on_votes=lambda *_: voted.append(time.perf_counter())).result()
        return voted[0] - started

    return call


def _batch(smoothed: SmoothedClassifier, rows: int) -> Callable[[], float]:
    """Seconds that a batch takes by itself, without noise and session."""
    noisy = trial_batch(SHAPE, rows)

    def batch() -> float:
        started = time.perf_counter()
        smoothed.pipeline.labels(noisy)
        return time.perf_counter() - started

    return batch


def _told(seconds: list[float]) -> str:
    """The median in milliseconds [its interval] (least to most)."""
    low, high = interval(seconds)
    return (
        f"{1000 * statistics.median(seconds):.1f} ms [{1000 * low:.1f} to {1000 * high:.1f}] "
        f"({1000 * min(seconds):.1f} to {1000 * max(seconds):.1f})"
    )


def main() -> None:
    """Prints a line for torch in fp32, and one for the fastest backend in bf16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for backend, dtype in (("eager", "fp32"), (fastest("bf16"), "bf16")):
        print(line(backend, dtype, rounds), flush=True)


if __name__ == "__main__":
    main()
