"""Each backend against the published loop and a large matrix product, and what noise, scheduling and counting cost.

The paper's networks with random weights, which change no time: DnCNN (17 x 64) + ResNet-110 at 32 px, DnCNN + ResNet-50
at 224 px. One worker and one thread; rounds are interleaved, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.reference import Defended, reference_loop
from benchmarks.roofline import products, roof, told
from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.dncnn import DnCNN
from dsmooth.images.sets import LabelledImage
from dsmooth.records.question import PREDICTION
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["SIZES", "Size", "compare", "interleaved", "networks", "without_networks"]

SIGMA = 0.25


@dataclass(frozen=True)
class Size:
    """What is measured at one image size."""

    side: int
    gflop: float
    """Multiplications and additions of a sample."""
    batch: int
    """Rows of the reference loop's batch: 400 as published; fewer at 224 px, where 400 would take 15 GB."""
    samples: int
    """Of ours, a round."""


SIZES = {32: Size(32, 1.646, 400, 128), 224: Size(224, 64.0, 8, 4)}
ON_GPU = {32: Size(32, 1.646, 400, 65536), 224: Size(224, 64.0, 400, 2048)}


def networks(side: int) -> tuple[Denoiser, TorchClassifier]:
    """The paper's denoiser and classifier, with random weights."""
    if side == 32:
        classifier: nn.Module = CifarResNet(110)
    else:
        import_torchvision()
        import timm

        classifier = timm.create_model("resnet50", pretrained=False)
    return DnCNN().eval(), TorchClassifier(classifier.eval(), mean=(0.45,) * 3, std=(0.225,) * 3)


def interleaved(
    work: dict[str, Callable[[], int]], rounds: int, clock: Callable[[], float]
) -> Iterator[dict[str, float]]:
    """For each round, the seconds a sample of each piece of work; each returns how many samples it did."""
    for _ in range(rounds):
        seconds = {}
        for name, call in work.items():
            started = clock()
            samples = call()
            seconds[name] = (clock() - started) / samples
        yield seconds


def compare(size: Size, names: list[tuple[str, str]], rounds: int) -> str:
    """A table of backends (name, dtype) at this size: time a sample, GFLOP/s beside those of a large matrix product in the
    same dtype and round, ratio to the reference, overhead; medians, with their spread.
    """
    denoiser, classifier = networks(size.side)
    on_gpu = any(name == "cuda" for name, _ in names)
    device = torch.device("cuda" if on_gpu else "cpu")
    clock = time.perf_counter if on_gpu else time.process_time  # on a CPU the time of this process, whoever else works
    pixels = np.random.default_rng(0).integers(0, 256, (size.side, size.side, 3), dtype=np.uint8)
    defended = Defended(denoiser, classifier.network(), SIGMA).eval().to(device)

    def reference() -> int:
        reference_loop(defended, pixels, SIGMA, size.batch, size.batch, classes=1000)
        return size.batch

    work: dict[str, Callable[[], int]] = {"reference": reference}
    for name, dtype in names:
        workers = None if on_gpu else 1
        smoothed = SmoothedClassifier(classifier, denoiser, SIGMA, dtype=dtype, backend=name, workers=workers)
        rows = smoothed.sizes.rows(pixels.shape)
        empty = without_networks(smoothed, rows)
        work[f"{name} {dtype}"] = _run(smoothed, rows, pixels, size.samples)
        work[f"{name} {dtype} without"] = _run(empty, rows, pixels, 10 * size.samples)
    backends = {"reference": "tf32" if on_gpu else "fp32"} | {f"{name} {dtype}": dtype for name, dtype in names}
    work |= products(on_gpu)
    for call in work.values():  # compiles, allocates, probes
        call()
    found = list(interleaved(work, rounds, clock))
    unit = "wall" if on_gpu else "CPU"
    lines = [
        f"| {size.side} px | ms a sample ({unit}) | GFLOP/s | of a matrix product | times the reference "
        "| noise + scheduling + counting |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, dtype in backends.items():
        seconds = statistics.median(each[name] for each in found)
        share = _percent([size.gflop / each[name] / roof(each, dtype) for each in found], 0)
        ratios = sorted(each["reference"] / each[name] for each in found)
        rest = "" if name == "reference" else _percent([each[f"{name} without"] / each[name] for each in found], 1)
        lines.append(
            f"| {name} | {1000 * seconds:.4g} | {size.gflop / seconds:,.0f} | {share} | {statistics.median(ratios):.1f} "
            f"({ratios[0]:.1f} to {ratios[-1]:.1f}) | {rest} |"
        )
    return "\n".join([*lines, "", told(found)])


class _Nothing(nn.Module):
    """Answers without looking."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros((len(x), 10))


def without_networks(smoothed: SmoothedClassifier, rows: int) -> SmoothedClassifier:
    """What is left of it: noise, the session with its threads, counting."""
    used = smoothed.pipeline.backend
    name, dtype = (used.name, used.dtype) if used.device.type == "cuda" else ("eager", "fp32")
    return SmoothedClassifier(
        _Nothing(), None, smoothed.law, dtype=dtype, backend=name, batch=rows, workers=used.workers
    )


def _run(smoothed: SmoothedClassifier, rows: int, pixels: np.ndarray, samples: int) -> Callable[[], int]:
    """A run on one image, through the open session; how many samples it was, in full batches."""
    image, key = LabelledImage("image", pixels), MasterKey.draw(0)
    question = smoothed.question(bound=PREDICTION, n=max(1, samples // rows) * rows)

    def run() -> int:
        list(smoothed.tallies([image], question, key))
        return question.n

    return run


def _percent(shares: list[float], places: int) -> str:
    least, middle, most = (
        f"{100 * share:.{places}f}" for share in (min(shares), statistics.median(shares), max(shares))
    )
    return f"{middle} % ({least} to {most})"
