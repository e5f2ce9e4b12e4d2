"""The gateway against the same job offline, in one process and in turn (`make bench-serve`).

python -m benchmarks.serve             18 minutes on two idle cores: ten of them are 16 clients
python -m benchmarks.serve --soak 60 --denoiser photo-light
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.clients import Answered, asked_at, asked_by, request
from dsmooth.backends.choice import fastest
from dsmooth.backends.eager import cores
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.images.sets import LabelledImage
from dsmooth.records.certificate_file import read_certificate
from dsmooth.serve.archive import Archive
from dsmooth.serve.callers import Callers
from dsmooth.serve.desk import Desk
from dsmooth.serve.metrics import Metrics
from dsmooth.serve.served import Limits, Served
from dsmooth.serve.server import Server
from dsmooth.serve.settings import Settings
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.theory.votes import Phase

_N0, _N, _SIDE = 20, 100, 224
_FREE_N0, _FREE_N = 4, 8  # votes that are beside nothing where a request's own time is measured
_FEW, _MANY = 8, 16  # clients
_PAIRS = 60
_AGAIN = 16  # answers of the soak that are asked for again, offline
_OVERLOAD, _REQUESTS = 3.0, 60  # times the capacity
_PLANNED = 4.0  # deadline of an overloaded server, in requests' own time
_LAST = 24  # requests, after which a server is ended under load

Row = tuple[str, Sequence[float], str]
"""What was measured, the figures, and what is to be reached."""


def main() -> None:
    """Prints a table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=float, default=600.0, help="seconds of 16 clients")
    parser.add_argument("--denoiser", default="photo")
    chosen = parser.parse_args()
    print(
        f"EfficientNet-Lite0 behind {chosen.denoiser}, {fastest('bf16')} bf16, {cores()} cores, n0 {_N0}, n {_N}, "
        f"{_SIDE} px; {chosen.rounds} rounds, {chosen.soak:g} s of {_MANY} clients\n\n"
        "| | median | least | most | to reach |\n| --- | --- | --- | --- | --- |"
    )
    free = SmoothedClassifier(TorchClassifier(_Free()), None, 0.25, dtype="fp32", backend="eager")
    with _gateway(free) as (port, _):
        _show(_overhead(free, port))
    smoothed = SmoothedClassifier("efficientnet-lite0", chosen.denoiser, 0.25, dtype="bf16")
    with tempfile.TemporaryDirectory() as place:
        record = Path(place) / "record"
        with _gateway(smoothed, record) as (port, server):
            images = [LabelledImage("image", _photograph(i)) for i in range(chosen.images)]
            files = [_png(image) for image in images]
            for row in _throughput(smoothed, port, images, files, chosen.rounds):
                _show(row)
            for row in _soak(smoothed, port, images, files, record, chosen.soak):
                _show(row)
            alone = statistics.median(request(port, file).seconds for file in files[:5])
            for row in _overload(port, files, alone):
                _show(row)
            told = _ended_under_load(server, port, files)
        found = [Archive(record).get("local", str(answer.certificate)) is not None for answer in told]
        _show((f"recorded certificates that a restart under load left, of {len(told)}", [_share(found)], "1"))


class _Free(torch.nn.Module):
    """A classifier that costs nothing beside a request."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        light = x[:, :, ::32, ::32].mean(dim=(1, 2, 3))
        return torch.stack([1 - light, light], dim=1)


@contextmanager
def _gateway(smoothed: SmoothedClassifier, record: Path | None = None) -> Iterator[tuple[int, Server]]:
    """A server that listens, and its port; it has ended on leaving."""
    served = Served("default", smoothed, terms={"n0": _N0, "n": _N}, limits=Limits(deadline=600.0), size=_SIDE)
    desk = Desk({"default": served}, callers=Callers(), archive=Archive(record), metrics=Metrics(), cache=False)
    started = threading.Event()
    server = Server(desk, Settings(port=0), on_start=lambda port: started.set(), log=lambda entry: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    started.wait()
    try:
        yield server.port, server
    finally:
        server.stop()
        thread.join()


def _overhead(smoothed: SmoothedClassifier, port: int) -> Row:
    """Pairs of one request and the same votes offline: a neighbour disturbs both alike."""
    image = LabelledImage("image", _photograph(0))
    file, beyond = _png(image), []
    for _ in range(_PAIRS):
        offline = _offline(smoothed, [image], n0=_FREE_N0, n=_FREE_N)
        answer = _good(request(port, file, f"?n0={_FREE_N0}&n={_FREE_N}"))
        beyond.append(1000 * (answer.seconds - offline))
    return "a request beyond its samples, ms (a classifier that costs nothing)", beyond, "at most 30"


def _throughput(
    smoothed: SmoothedClassifier, port: int, images: Sequence[LabelledImage], files: Sequence[bytes], rounds: int
) -> list[Row]:
    ratios, alone = [], []
    for _ in range(rounds):
        offline = _offline(smoothed, images)
        started = time.perf_counter()
        for answer in asked_by(_FEW, port, files, going=lambda number: number < len(files)):
            _good(answer)
        ratios.append(offline / (time.perf_counter() - started))
        alone += [_good(request(port, file)).seconds for file in files[:4]]
    return [
        (f"throughput with {_FEW} clients / offline", ratios, "at least .9"),
        ("one request on a warm server, s", alone, "at most 3 (p50); behind a light denoiser 1"),
    ]


def _soak(
    smoothed: SmoothedClassifier,
    port: int,
    images: Sequence[LabelledImage],
    files: Sequence[bytes],
    record: Path,
    seconds: float,
) -> list[Row]:
    before, end = len(list(record.rglob("*.json"))), time.monotonic() + seconds
    sizes: list[int] = []
    watched = threading.Thread(target=_watch, args=(sizes, end))
    watched.start()
    answers = asked_by(_MANY, port, files, going=lambda number: time.monotonic() < end)
    watched.join()
    recorded = len(list(record.rglob("*.json"))) - before
    given = [answer for answer in answers if answer.status == 200]
    again = random.Random(0).sample(given, min(_AGAIN, len(given)))
    equal = [_is_offline(smoothed, images[answer.number % len(images)], record, answer) for answer in again]
    half = len(sizes) // 2
    grown = [statistics.median(sizes[half:]) / statistics.median(sizes[:half])] if half else []
    return [
        (f"{_MANY} clients: answers / requests, of {len(answers)}", [len(given) / max(1, len(answers))], "1"),
        (f"{_MANY} clients: certificates recorded / answers", [recorded / max(1, len(given))], "1"),
        (
            f"{_MANY} clients: different certificates / answers",
            [len({answer.certificate for answer in given}) / max(1, len(given))],
            "1",
        ),
        (f"{_MANY} clients: equal to offline, of {len(again)}", [_share(equal)], "1"),
        (f"{_MANY} clients: memory in the second half / first", grown, "at most 1.05"),
    ]


def _watch(sizes: list[int], end: float) -> None:
    """The memory of this process, once a second, after a tenth of the time: all buffers have their size then."""
    status, start = Path("/proc/self/status"), time.monotonic()
    while time.monotonic() < end:
        time.sleep(1.0)
        if status.is_file() and time.monotonic() - start > (end - start) / 10:
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
            sizes.append(int(line.split()[1]))


def _is_offline(smoothed: SmoothedClassifier, image: LabelledImage, record: Path, answer: Answered) -> bool:
    """Whether the recorded certificate is the one that is made offline, alone, under the same key."""
    address, _, attempt = str(answer.certificate).partition("-")
    (path,) = (record / "local" / address).glob(f"{attempt}-*.json")
    kept = read_certificate(path)
    question = smoothed.question(n0=_N0, n=_N)
    (tally,) = smoothed.tallies([image], question, MasterKey(kept.key, "os"))
    made = tally.certificate(question)
    votes = {phase: dict(tally.votes(phase).counts) for phase in (Phase.SELECTION, Phase.ESTIMATION)}
    told = {Phase.SELECTION: kept.record.selection, Phase.ESTIMATION: kept.record.estimation}
    return made.answer == kept.record.answer and all(dict(told[phase]["counts"]) == votes[phase] for phase in votes)


def _overload(port: int, files: Sequence[bytes], alone: float) -> list[Row]:
    deadline = _PLANNED * alone
    answers = asked_at(_OVERLOAD / alone, _REQUESTS, port, files, f"?deadline={deadline:.3f}")
    met = [answer.status == 200 and answer.seconds <= deadline for answer in answers if answer.status != 429]
    refused = [1000 * answer.seconds for answer in answers if answer.status == 429]
    name = f"{_OVERLOAD:g} times the capacity, deadline {deadline:.0f} s"
    return [
        (f"{name}: accepted ones that met it, of {len(met)}", [_share(met)], "at least .99"),
        (f"{name}: a refusal, ms ({len(refused)} of {len(answers)} requests)", refused, "at most 100"),
    ]


def _ended_under_load(server: Server, port: int, files: Sequence[bytes]) -> list[Answered]:
    """What clients were told by a server that was ended while they asked."""

    def going(number: int) -> bool:
        if number == _LAST:  # most of those before it are answered, and the other clients wait
            server.stop()
        return number < _LAST

    return [answer for answer in asked_by(_FEW, port, files, going=going) if answer.status == 200]


def _offline(smoothed: SmoothedClassifier, images: Sequence[LabelledImage], *, n0: int = _N0, n: int = _N) -> float:
    """Seconds for the certificates of these images."""
    started = time.perf_counter()
    for _ in smoothed.tallies(images, smoothed.question(n0=n0, n=n), MasterKey.draw()):
        pass
    return time.perf_counter() - started


def _good(answer: Answered) -> Answered:
    if answer.status != 200:
        raise RuntimeError(f"a request was answered with {answer.status}")
    return answer


def _share(facts: Iterator[bool] | Sequence[bool]) -> float:
    known = list(facts)
    return sum(known) / max(1, len(known))


def _show(row: Row) -> None:
    name, values, reach = row
    figures = [f"{pick(values):.3g}" if values else "-" for pick in (statistics.median, min, max)]
    shown = [figures[0], *(figures[1:] if len(values) > 1 else ["", ""])]
    print(f"| {name} | {' | '.join(shown)} | {reach} |", flush=True)


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
