"""Two checkouts of the library against each other, in pairs: is the new code as fast as the old?

    git worktree add ../old COMMIT
    python -m benchmarks.paired ../old                seven minutes
    python -m benchmarks.paired ../old --rounds 25

One process for each checkout, both on the same core, one at work at a time. In every round each certifies an image with few
samples and with many; who begins alternates. So whatever else slows the machine slows both alike, and only their ratio is
printed: above 1 the new code is faster. A whole call has all that a user waits for, the questions that are asked before the
first vote too; the difference between many and few samples is what each further sample costs. Every 3 rounds both processes
are new ones: where a process happens to lie in memory is worth a percent, and belongs into the interval.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from scipy import stats

__all__ = ["JOBS", "Job", "interval", "measure"]

ROOT: Final = Path(__file__).resolve().parent.parent
CONFIDENCE: Final = 0.95
_FRESH: Final = 3  # rounds between new processes


@dataclass(frozen=True)
class Job:
    """What both do in every round: one image, in batches of `batch` rows, with `few` and with `many` samples."""

    networks: str
    """"paper": its DnCNN and ResNet, with random weights. "shipped": photo and EfficientNet-Lite0."""
    side: int
    backend: str
    dtype: str
    batch: int
    few: int
    many: int


JOBS: Final = (
    Job("paper", 32, "eager", "bf16", batch=50, few=100, many=300),
    Job("paper", 32, "openvino", "bf16", batch=32, few=64, many=288),
    Job("shipped", 224, "eager", "bf16", batch=1, few=4, many=34),
    Job("shipped", 224, "openvino", "bf16", batch=1, few=4, many=44),
)


_Times = dict[tuple[str, int], dict[str, Any]]
"""What a round took: ("old" or "new", number of samples) -> clock -> seconds."""


class Worker:
    """A process with the code of one checkout, that has built what the job needs."""

    def __init__(self, checkout: Path, job: Job, core: int | None) -> None:
        paths = [str(checkout / "src"), str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("job.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
        used = Path(self.ask({**asdict(job), "core": core})["package"])
        if not used.is_relative_to(checkout):
            self.close()
            raise SystemExit(f"expected the dsmooth of {checkout}, got {used}")

    def ask(self, question: object) -> dict[str, Any]:
        """The answer to one line of JSON."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """The process has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(old: Path, new: Path, job: Job, rounds: int, core: int | None) -> list[str]:
    """Lines of the table, one a clock: how many times as fast as the old code the new one is."""
    found = []
    for start in range(0, rounds, _FRESH):
        workers = {"old": Worker(old, job, core), "new": Worker(new, job, core)}
        for number in range(start, min(start + _FRESH, rounds)):
            times: _Times = {}
            for samples in (job.few, job.many):
                for name in ("old", "new") if number % 2 else ("new", "old"):
                    times[name, samples] = workers[name].ask(samples)
                    assert times[name, samples]["samples"] == samples
            found.append(times)
        for worker in workers.values():
            worker.close()
    lines = []
    for clock in ("cpu", "wall"):
        whole = [times["old", job.many][clock] / times["new", job.many][clock] for times in found]
        further = [_further(times, "old", job, clock) / _further(times, "new", job, clock) for times in found]
        each = 1000 * statistics.median(_further(times, "old", job, clock) for times in found)
        name = f"{job.networks}, {job.side} px, {job.backend} {job.dtype}"
        lines.append(f"| {name} | {clock} | {each:.3g} | {_told(whole)} | {_told(further)} |")
    return lines


def _further(times: _Times, name: str, job: Job, clock: str) -> float:
    """Seconds that each sample beyond the few took."""
    seconds: float = times[name, job.many][clock] - times[name, job.few][clock]
    return seconds / (job.many - job.few)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """A confidence interval of the median, by the sign test: from the k-th smallest to the k-th largest value.

    Exact whatever the distribution, for at least 6 independent values: the median is below the k-th smallest of n only where
    fewer than k values are, which has the probability P(Bin(n, 1/2) < k), at most half of 1 - CONFIDENCE; likewise above.
    """
    ordered = sorted(values)
    k = int(stats.binom.ppf((1.0 - CONFIDENCE) / 2.0, len(ordered), 0.5))
    return ordered[k - 1], ordered[-k]


def _told(ratios: Sequence[float]) -> str:
    low, high = interval(ratios)
    return f"{statistics.median(ratios):.3f} [{low:.3f} to {high:.3f}] ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Prints a line for each job as it is finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a checkout of the old code")
    parser.add_argument("--new", type=Path, default=ROOT, help="a checkout of the new code: this one, unless given")
    parser.add_argument("--rounds", type=int, default=15)
    told = parser.parse_args()
    if told.rounds < 6:
        parser.error("expected at least 6 rounds: fewer give no interval")
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else None
    print(
        f"speed of new / old: median of {told.rounds} pairs [its {100 * CONFIDENCE:.0f} % interval, by the sign test] "
        "(least to most)\n\n"
        "| job | clock | ms a sample, old | a whole call | each further sample |\n| --- | --- | --- | --- | --- |",
        flush=True,
    )
    for job in JOBS:
        print("\n".join(measure(told.old.resolve(), told.new.resolve(), job, told.rounds, core)), flush=True)


if __name__ == "__main__":
    main()
