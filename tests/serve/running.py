"""A gateway on a free port of 127.0.0.1, with a small classifier behind it, that ends with its `with`."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dsmooth import SmoothedClassifier, TorchClassifier
from dsmooth.serve.archive import Archive
from dsmooth.serve.callers import Caller, Callers
from dsmooth.serve.desk import Desk
from dsmooth.serve.metrics import Metrics
from dsmooth.serve.served import Limits, Served
from dsmooth.serve.server import Server
from dsmooth.serve.settings import Settings
from dsmooth.serve.tracing import NO_TRACING
from support import Linear

SIZE = 16
NAMES = ["dark", "light"]
TERMS = {"n0": 20, "n": 100, "alpha": 0.001}


@dataclass
class Answered:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A gateway that runs."""

    server: Any
    desk: Desk
    log: list[dict[str, Any]] = field(default_factory=list)
    """A line a request, written after its answer: all are here once the server has stopped."""
    complaints: list[dict[str, Any]] = field(default_factory=list)
    """Lines of the log that are about no request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, timeout: float = 60, **headers: str) -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=timeout)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answered(response.status, response.headers, response.read())

    def metric(self, name: str, **labels: str) -> float:
        return self.desk.metrics.registry.get_sample_value(name, labels) or 0.0

    def wait_for_idle(self) -> None:
        """Nobody waits in a queue any more."""
        until(lambda: all(not s.queue.requests and not s.jobs.requests for s in self.desk.models.values()))


def resident() -> int:
    """Kilobytes of memory that this process has now."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def until(fact, seconds: float = 30.0) -> None:
    """The fact has come true."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@contextlib.contextmanager
def gateway(
    module=None,
    *,
    callers: list[Caller] = [],  # noqa: B006
    aws_secrets: dict[str, str] = {},  # noqa: B006
    record=None,
    sealed=None,
    cache: bool = True,
    limits: Limits = Limits(),  # noqa: B008
    terms: dict[str, Any] = TERMS,
    sigma: float = 0.25,
    law=None,
    classifier=None,
    denoiser=None,
    settings: Settings = Settings(port=0, drain=10.0),  # noqa: B008
    traced=None,
    **options: Any,
) -> Iterator[Running]:
    chosen = classifier or TorchClassifier(module or Linear(), class_names=NAMES)
    smoothed = SmoothedClassifier(chosen, denoiser, None if law else sigma, law=law, backend="eager", workers=1)
    served = Served("default", smoothed, terms=terms, limits=limits, size=SIZE)
    archive = Archive(record) if sealed is None else Archive(record, sealed)
    metrics = Metrics()
    desk = Desk(
        {"default": served},
        callers=Callers(callers, aws_secrets),
        archive=archive,
        metrics=metrics,
        cache=cache,
        tracing=NO_TRACING if traced is None else traced(metrics.registry),
    )
    with running_desk(desk, settings, **options) as running:
        yield running


@contextlib.contextmanager
def running_desk(desk: Desk, settings: Settings = Settings(port=0, drain=10.0), **options: Any) -> Iterator[Running]:  # noqa: B008
    """The server of this desk."""
    started, running = threading.Event(), Running(None, desk)

    def log(entry):
        (running.log if "status" in entry else running.complaints).append(entry)

    server = running.server = Server(desk, settings, on_start=lambda port: started.set(), log=log, **options)
    thread = threading.Thread(target=server.run, name="gateway")
    thread.start()
    try:
        assert started.wait(30)
        yield running
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


def picture(level: int = 200, size: int = SIZE, kind: str = "PNG", spot: int = 0) -> bytes:
    """An image file of one grey; `spot` makes it another picture with nearly the same answer."""
    pixels = np.full((size, size, 3), level, np.uint8)
    pixels[0, 0, 0] = spot
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()
