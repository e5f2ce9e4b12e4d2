"""Adaptive sampling and the hot path together, against the published loop at N = 100,000 votes an image.

Real images, networks and denoiser. The loop is timed on FEW samples before and after, and scaled to N, which the row says.
"""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.reference import Defended, reference_loop
from dsmooth import SmoothedClassifier, load_classifier, load_denoiser, open_images
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.modes import Mode
from recipes.experiment import DATA

__all__ = ["row"]

N, N0, SIGMA, ALPHA, FEW, IMAGES = 100_000, 100, 0.25, 0.001, 400, 4
RADII = (0.0, 0.25, 0.5, 0.75)


def row(cores: int) -> str:
    """The table, of one row: the loop with all threads it wants, and ours with all cores."""
    if not DATA.is_dir():
        return f"adaptive sampling is not measured: it needs the real data in {DATA} (DSMOOTH_DATA)"
    images = open_images(DATA / "cifar10" / "test_every20.npz")
    images = images[:: len(images) // IMAGES][:IMAGES]
    classifier = load_classifier(f"cifar:resnet56@{DATA / 'cifar10_models' / 'resnet56.safetensors'}")
    denoiser = load_denoiser(DATA / "denoisers" / "dncnn_color_blind.safetensors")
    smoothed = SmoothedClassifier(classifier, denoiser, SIGMA, dtype="bf16")
    smoothed.settle(images[0].pixels.shape)
    question = smoothed.question(n0=N0, n=N, alpha=ALPHA, mode=Mode("curve", RADII))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    defended = Defended(denoiser, classifier.network(), SIGMA).eval().to(device)

    def loop() -> float:
        started = time.perf_counter()
        reference_loop(defended, images[0].pixels, SIGMA, FEW)
        return (time.perf_counter() - started) / FEW

    torch.set_num_threads(cores)
    loop()
    before = loop()
    started = time.perf_counter()
    samples = sum(tally.drawn for tally in smoothed.tallies(images, question, MasterKey.draw(0)))
    took = time.perf_counter() - started
    whole = statistics.mean([before, loop()]) * (N0 + N) * IMAGES
    return (
        "| images | samples, loop | s (scaled) | samples, curve | s | times fewer samples | times faster |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        f"| {IMAGES} | {(N0 + N) * IMAGES:,} | {whole:,.0f} (from {2 * FEW:,}) | {samples:,} | {took:.0f} "
        f"| {(N0 + N) * IMAGES / samples:.1f} | {whole / took:.0f} |"
    )
