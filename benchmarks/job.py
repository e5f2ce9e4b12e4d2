"""One process of `python -m benchmarks.paired`: does a job whenever it is asked to, with the code of one checkout.

It calls what all versions of the library have in common, so that old and new code run the same lines here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SIGMA = 0.25


def main() -> None:
    """Reads lines of JSON, answers each with one: first the job (what to build), then numbers of samples."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    job = json.loads(sys.stdin.readline())
    if job["core"] is not None:
        os.sched_setaffinity(0, {job["core"]})
    smoothed, image = built(job)

    def certify(samples: int) -> dict[str, Any]:
        cpu, wall = time.process_time(), time.perf_counter()
        certificate = smoothed.certify(image, n0=job["batch"], n=samples - job["batch"], seed=1)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        counted = certificate.selection.trials + certificate.estimation.trials
        return {"cpu": cpu, "wall": wall, "samples": counted}

    certify(2 * job["batch"])  # compiles, allocates
    import dsmooth

    print(json.dumps({"package": str(Path(dsmooth.__file__).resolve())}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(certify(json.loads(line))), file=answers, flush=True)


def built(job: dict[str, Any]) -> tuple[Any, Any]:
    """The smoothed classifier of the job on one thread, and an image."""
    import numpy as np
    import torch

    from dsmooth import SmoothedClassifier

    torch.set_num_threads(1)
    torch.manual_seed(0)  # of the random weights
    denoiser: Any = "photo"
    classifier: Any = "efficientnet-lite0"
    if job["networks"] == "paper":
        from benchmarks.hot_path import networks

        denoiser, classifier = networks(job["side"])
    image = np.random.default_rng(0).integers(0, 256, (job["side"], job["side"], 3), dtype=np.uint8)
    options = {"dtype": job["dtype"], "backend": job["backend"], "batch": job["batch"], "workers": 1}
    return SmoothedClassifier(classifier, denoiser, SIGMA, **options), image


if __name__ == "__main__":
    main()
