"""Queries a second against a service that takes 100 ms for each answer, one after another and side by side.

    python -m benchmarks.service_rate

The whole way: noise, 8 bits, PNG, JSON over HTTP on this machine, a server in a process of its own that decodes the picture,
answer, log, vote. No denoiser. On the same cores as the server, so a figure is a lower limit.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.images.sets import LabelledImage
from dsmooth.records.querylog import LOG, read_query_log
from dsmooth.records.question import PREDICTION
from dsmooth.services.gate import Limits
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier
from tests.services.servers import Brain, Server, brightness

LATENCY = 0.1
SIDES = (32, 224)
CONCURRENCY = (1, 32, 64)


def serve(address: object) -> None:
    with Server(Brain(brightness, latency=LATENCY)) as server:
        address.put(server.url)  # type: ignore[attr-defined]
        time.sleep(3600)


def rate(url: str, side: int, concurrency: int) -> float:
    """Queries a second over about four seconds."""
    remote = RemoteClassifier(f"{url}/classify", limits=Limits(concurrency=concurrency))
    smoothed = SmoothedClassifier(remote, None, 0.25, dtype="fp32")
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    samples = 40 if concurrency == 1 else 1000
    question = smoothed.question(bound=PREDICTION, n=samples)
    with (
        tempfile.TemporaryDirectory() as folder,
        remote.logged(Path(folder), key_commitment="", parameters="", canaries=[]),
    ):
        started = time.monotonic()
        list(smoothed.tallies([LabelledImage("image", pixels)], question, MasterKey.draw(0)))
        elapsed = time.monotonic() - started
        assert len(read_query_log(Path(folder) / LOG).entries) == samples
    smoothed.close()
    remote.close()
    return samples / elapsed


def main() -> None:
    os.environ.pop("DSMOOTH_HTTP_AUTHORIZATION", None)
    context = multiprocessing.get_context("spawn")
    address = context.Queue()
    server = context.Process(target=serve, args=(address,), daemon=True)
    server.start()
    url = address.get(timeout=60)
    print(f"{os.cpu_count()} cores, {1000 * LATENCY:.0f} ms latency")
    print("| side | in flight | queries a second | times one after another |")
    print("| --- | --- | --- | --- |")
    for side in SIDES:
        alone = None
        for concurrency in CONCURRENCY:
            found = rate(url, side, concurrency)
            alone = alone or found
            print(f"| {side} | {concurrency} | {found:.1f} | {found / alone:.1f} |", flush=True)
    server.terminate()


if __name__ == "__main__":
    main()
