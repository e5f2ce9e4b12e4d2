"""Cores, memory, the start of the program, and one image at n = 10,000."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.hot_path import SIGMA, interleaved, networks
from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["lines"]

_MEMORY = """
import numpy as np
from torch import nn
from dsmooth.smoothing.smoothed import SmoothedClassifier
model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3, 2))
smoothed = SmoothedClassifier(model, None, 0.25, dtype="fp32", backend="eager", batch=1000)
smoothed.certify(np.zeros((8, 8, 3), dtype=np.uint8), n={n})
status = open("/proc/self/status").read()  # the peak of this program alone; getrusage would add that of its parent
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def lines(backend: str, workers: int, rounds: int) -> list[str]:
    """One line each."""
    denoiser, classifier = networks(32)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)

    def certifying(threads: int | None, n: int) -> Callable[[], int]:
        smoothed = SmoothedClassifier(classifier, denoiser, SIGMA, dtype="bf16", backend=backend, workers=threads)
        smoothed.certify(image, n0=1, n=1)  # compiles

        def certify() -> int:
            smoothed.certify(image, n=n)
            return n

        return certify

    found = []
    if workers > 1:
        work = {"one": certifying(1, 2000), "all": certifying(workers, 2000)}
        ratios = [each["one"] / each["all"] for each in interleaved(work, rounds, time.perf_counter)]
        found.append(
            f"{workers} workers are {statistics.median(ratios):.2f} times one "
            f"({min(ratios):.2f} to {max(ratios):.2f}; {backend} bf16, wall time)"
        )
    whole = {"image": certifying(None, 10_000)}
    seconds = [10_000 * each["image"] for each in interleaved(whole, 3, time.perf_counter)]
    found.append(f"one 32 px image at n = 10,000: {statistics.median(seconds):.2f} s ({backend} bf16, all workers)")
    memory = [_output([sys.executable, "-c", _MEMORY.format(n=n)]) for n in (1_000, 1_000_000)]
    found.append(f"peak memory at n = 1,000: {float(memory[0]):.0f} MB; at n = 1,000,000: {float(memory[1]):.0f} MB")
    program = [str(Path(sys.executable).with_name("dsmooth")), "--help"]
    starts = []
    for _ in range(rounds):
        started = time.perf_counter()
        _output(program)
        starts.append(time.perf_counter() - started)
    found.append(f"dsmooth --help: {statistics.median(starts):.2f} s ({min(starts):.2f} to {max(starts):.2f})")
    return found


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
