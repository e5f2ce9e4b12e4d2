"""Curve mode and the hot path together against a loop that draws all n votes of every image.

    python -m benchmarks.adaptive [--images 4] [--n 100000] [--dtype bf16]

Real images, networks and denoiser (DSMOOTH_DATA, see recipes/README.md); prints one row. The time of the loop is measured
on FEW samples and scaled to n, which the row says.
"""

from __future__ import annotations

import argparse
import time

from dsmooth import SmoothedClassifier, open_images
from dsmooth.console import Bar
from dsmooth.images import ImageSet
from dsmooth.smoothing.chunks import MasterKey, Phase
from dsmooth.theory.certificate import Cohen
from dsmooth.theory.modes import Demand, Mode
from recipes.experiment import DATA

N0, SIGMA, ALPHA, FEW = 100, 0.25, 0.001, 1000
RADII = (0.0, 0.25, 0.5, 0.75)


def drawn(smoothed: SmoothedClassifier, images: ImageSet, demand: dict[Phase, Demand]) -> tuple[int, float]:
    """Samples drawn for the images, and seconds that it took."""
    started, samples = time.perf_counter(), 0
    with Bar("adaptive", len(images), "images") as bar:
        for done, poll in enumerate(smoothed.polls(images, demand, MasterKey.draw(0)), start=1):
            samples += poll.drawn
            bar.to(done, f"{samples:,} samples")
    return samples, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dtype", default="bf16")
    chosen = parser.parse_args()
    if not DATA.is_dir():
        print(f"benchmarks.adaptive needs the real data in {DATA} (DSMOOTH_DATA): not measured")
        return
    images = open_images(DATA / "cifar10" / "test_every20.npz")
    images = images[:: len(images) // chosen.images][: chosen.images]
    classifier = f"cifar:resnet56@{DATA / 'cifar10_models' / 'resnet56.safetensors'}"
    denoiser = DATA / "denoisers" / "dncnn_color_blind.safetensors"
    smoothed = SmoothedClassifier(classifier, denoiser, SIGMA, dtype=chosen.dtype)
    plan = Mode("curve", RADII).plan(Cohen(), smoothed.noise, n=chosen.n, alpha=ALPHA)
    # the loop to compare with: all n votes of each image, a few of them timed; a reference loop of its own goes in here
    few, seconds = drawn(smoothed, images[:1], {Phase.SELECTION: N0, Phase.ESTIMATION: FEW})
    everything = (N0 + chosen.n) * len(images)
    whole = seconds / few * everything
    samples, took = drawn(smoothed, images, {Phase.SELECTION: N0, Phase.ESTIMATION: plan.demand})
    print("| images | N | samples, all | s (scaled) | samples, curve | s | times fewer samples | times faster |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {len(images)} | {chosen.n:,} | {everything:,} | {whole:.0f} (from {few:,}) | {samples:,} | {took:.0f} "
        f"| {everything / samples:.1f} | {whole / took:.1f} |"
    )


if __name__ == "__main__":
    main()
