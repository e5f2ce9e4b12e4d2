"""How long a call waits for its first vote, beyond the time of the batch that it is in.

python -m benchmarks.first_vote
"""

from __future__ import annotations

import argparse
import queue
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.hot_path import SIGMA, networks
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

    The session is open and warm, and has nothing else to do. At least 6 rounds: fewer give no interval.
    """
    call, batch = _first_vote(backend, dtype)
    call(), batch()  # compiles, allocates, probes
    waits = []
    for _ in range(rounds):
        alone = batch()
        waits.append((call(), alone))
    beyond = [1000 * (waited - alone) for waited, alone in waits]
    low, high = interval(beyond)
    alone = 1000 * statistics.median(alone for _, alone in waits)
    return (
        f"from a call to its first vote: {statistics.median(beyond):.1f} ms [{low:.1f} to {high:.1f}] "
        f"({min(beyond):.1f} to {max(beyond):.1f}) beyond the {alone:.0f} ms of a batch ({backend} {dtype}, 32 px)"
    )


def _first_vote(backend: str, dtype: str) -> tuple[Callable[[], float], Callable[[], float]]:
    """Both in seconds: from a call to its first vote, and a batch by itself, without noise and session."""
    denoiser, classifier = networks(32)
    smoothed = SmoothedClassifier(classifier, denoiser, SIGMA, dtype=dtype, backend=backend, workers=1)
    rows = smoothed.sizes.rows(SHAPE)
    question, session = smoothed.question(bound=PREDICTION, n=rows), smoothed.session
    drawn, noisy = np.random.default_rng(0), trial_batch(SHAPE, rows)

    def call() -> float:
        image = LabelledImage("image", drawn.integers(0, 256, SHAPE, dtype=np.uint8))
        voted: queue.SimpleQueue[float] = queue.SimpleQueue()
        started = time.perf_counter()
        handle = session.submit(image, question, on_votes=lambda *_: voted.put(time.perf_counter()))
        handle.result()
        return voted.get() - started

    def batch() -> float:
        started = time.perf_counter()
        smoothed.pipeline.labels(noisy)
        return time.perf_counter() - started

    return call, batch


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
