"""Everything that `make bench` measures.

python -m benchmarks.run             about eight minutes on two cores
python -m benchmarks.run --rounds 9
"""

from __future__ import annotations

import argparse
import datetime
import platform
from pathlib import Path

import torch

from benchmarks.adaptive import row
from benchmarks.first_vote import line
from benchmarks.hot_path import ON_GPU, SIZES, compare
from benchmarks.whole import lines
from dsmooth.backends.choice import fastest
from dsmooth.backends.eager import cores

_CPU = [("eager", "fp32"), ("eager", "bf16"), ("openvino", "bf16")]
_GPU = [("cuda", "tf32"), ("cuda", "bf16")]


def main() -> None:
    """Prints the tables as they are finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    on_gpu = torch.cuda.is_available()
    where = torch.cuda.get_device_name() if on_gpu else f"{processor()}, {cores()} cores"
    print(f"{where}, torch {torch.__version__}, {datetime.date.today()}, medians of {rounds} rounds", flush=True)
    if not on_gpu:
        torch.set_num_threads(1)
    for size in (ON_GPU if on_gpu else SIZES).values():
        print("\n" + compare(size, _GPU if on_gpu else _CPU, rounds), flush=True)
    print()
    for told in [*lines(fastest("bf16"), 1 if on_gpu else cores(), rounds), line(fastest("bf16"), "bf16", 3 * rounds)]:
        print(told, flush=True)
    print("\n" + row(cores()), flush=True)


def processor() -> str:
    """What the machine calls itself."""
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
