"""The gateway against the same job offline, in one process and in turn (`make bench-serve`).

python -m benchmarks.serve             about three minutes on two cores
python -m benchmarks.serve --images 16 --rounds 3
"""

from __future__ import annotations

import argparse
import http.client
import io
import statistics
import threading
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dsmooth.backends.choice import fastest
from dsmooth.backends.eager import cores
from dsmooth.images.sets import LabelledImage
from dsmooth.serve.archive import Archive
from dsmooth.serve.callers import Callers
from dsmooth.serve.desk import Desk
from dsmooth.serve.metrics import Metrics
from dsmooth.serve.served import Limits, Served
from dsmooth.serve.server import Server
from dsmooth.serve.settings import Settings
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier

_N0, _N, _CLIENTS, _SIDE = 20, 100, 8, 224


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    smoothed = SmoothedClassifier("efficientnet-lite0", "photo", 0.25, dtype="bf16")
    served = Served("default", smoothed, terms={"n0": _N0, "n": _N}, limits=Limits(deadline=600.0))
    desk = Desk({"default": served}, callers=Callers(), archive=Archive(None), metrics=Metrics(), cache=False)
    started = threading.Event()
    server = Server(desk, Settings(port=0), on_start=lambda port: started.set(), log=lambda entry: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    started.wait()
    try:
        images = [LabelledImage(str(i), _photograph(i)) for i in range(chosen.images)]
        files = [_png(image) for image in images]
        ratios, overheads, alone = [], [], []
        for _ in range(chosen.rounds):
            offline = _offline(smoothed, images)
            ratios.append(offline / _with_clients(server.port, files))
            for image, file in zip(images[:4], files, strict=False):  # in turn: a neighbour disturbs both alike
                single, request = _offline(smoothed, [image]), _request(server.port, file)
                alone.append(request)
                overheads.append(request - single)
    finally:
        server.stop()
        thread.join()
    print(f"EfficientNet-Lite0 behind photo, {fastest('bf16')} bf16, {cores()} cores, n0 {_N0}, n {_N}, {_SIDE} px")
    print(f"| {chosen.rounds} rounds | median | least | most |\n| --- | --- | --- | --- |")
    for name, values in (
        (f"throughput with {_CLIENTS} clients / offline", ratios),
        ("one request minus the same votes offline, ms", [1000 * value for value in overheads]),
        ("one request on a warm server, s", alone),
    ):
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")


def _offline(smoothed: SmoothedClassifier, images: Sequence[LabelledImage]) -> float:
    """Seconds for the certificates of these images."""
    started = time.perf_counter()
    for _ in smoothed.tallies(images, smoothed.question(n0=_N0, n=_N), MasterKey.draw()):
        pass
    return time.perf_counter() - started


def _with_clients(port: int, files: Sequence[bytes]) -> float:
    """Seconds until as many clients have asked for all files."""
    started = time.perf_counter()
    threads = [
        threading.Thread(target=lambda i=i: [_request(port, file) for file in files[i::_CLIENTS]])
        for i in range(_CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _request(port: int, file: bytes) -> float:
    """Seconds until the certificate is there."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/v1/certify", file)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(body.decode())
    return time.perf_counter() - started


def _photograph(number: int) -> np.ndarray:
    """A smooth picture of its own: what it shows changes no time."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 7, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))


def _png(image: LabelledImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.pixels).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
