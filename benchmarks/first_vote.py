"""How long a call waits for its first vote, beyond the time of the batch that it is in.

python -m benchmarks.first_vote
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.hot_path import SIGMA, networks
from dsmooth.backends.choice import fastest
from dsmooth.images.sets import LabelledImage
from dsmooth.smoothing.chunks import MasterKey, Phase
from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["line"]


def line(backend: str, rounds: int) -> str:
    """One line: medians over calls for another image each, for one batch of samples, at 32 px in bf16 on one thread."""
    call, batch = _first_vote(backend)
    call(), batch()  # compiles, allocates, probes
    waits = []
    for _ in range(rounds):
        alone = batch()
        waits.append((call() - alone, alone))
    beyond = sorted(1000 * wait for wait, _ in waits)
    alone = 1000 * statistics.median(alone for _, alone in waits)
    return (
        f"from a call to its first vote: {statistics.median(beyond):.1f} ms ({beyond[0]:.1f} to {beyond[-1]:.1f}) "
        f"beyond the {alone:.0f} ms of a batch ({backend} bf16, 32 px)"
    )


def _first_vote(backend: str) -> tuple[Callable[[], float], Callable[[], float]]:
    """Both in seconds: from a call to its first vote, and a batch by itself, without noise and scheduling."""
    denoiser, classifier = networks(32)
    smoothed = SmoothedClassifier(classifier, denoiser, SIGMA, dtype="bf16", backend=backend, workers=1)
    drawn = np.random.default_rng(0)
    shape = (32, 32, 3)
    smoothed.settle(shape)
    rows = smoothed.pixels // (shape[0] * shape[1])
    noisy = drawn.integers(0, 256, (rows, *shape)).astype(np.int16)

    def call() -> float:
        image = LabelledImage("image", drawn.integers(0, 256, shape, dtype=np.uint8))
        voted = []
        started = time.perf_counter()
        list(
            smoothed.tallies(
                [image],
                {Phase.PREDICTION: rows},
                MasterKey.draw(),
                on_votes=lambda *_: voted.append(time.perf_counter()),
            )
        )
        return voted[0] - started

    def batch() -> float:
        started = time.perf_counter()
        smoothed.pipeline.labels(noisy)
        return time.perf_counter() - started

    return call, batch


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(line(fastest("bf16"), 15))
