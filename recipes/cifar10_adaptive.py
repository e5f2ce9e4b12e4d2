"""CIFAR-10, ResNet-56: what the modes save on the real pipeline, against mode fixed on the same noise.

    python -m recipes.cifar10_adaptive [--every 5] [--n 10000 100000] [--sigma 0.25 0.5] [--denoiser FILE]

Samples, time and certified accuracy lost, for each sigma and N. All of it (--every 1, both N) takes days on two cores and
hours on a GPU; --every 25 takes every 25th of the 500 images. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dsmooth.records.store import Run, read_run
from dsmooth.report.summary import summarise
from dsmooth.theory.modes import FIXED, Mode
from recipes.cifar10 import classifier, test_images
from recipes.experiment import DATA, certify, report

DENOISERS = {0.25: "dncnn_color_blind", 0.5: "ffdnet_color"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--n", type=int, nargs="+", default=[10_000])
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--denoiser", type=Path, default=None)
    chosen = parser.parse_args()
    images = test_images()[:: chosen.every]
    model = classifier("resnet56")
    for sigma in chosen.sigma:
        denoiser = chosen.denoiser or DATA / "denoisers" / f"{DENOISERS[sigma]}.safetensors"
        radii = tuple(factor * sigma for factor in (0, 1, 2, 3))
        modes = (FIXED, Mode("curve", radii), Mode("decision", (sigma,)), Mode("radius"))
        for n in chosen.n:
            title = f"cifar10-adaptive-every{chosen.every}-sigma{sigma:g}-n{n}"
            runs = [certify(f"{title}-{mode.name}", images, model, denoiser, sigma, n=n, mode=mode) for mode in modes]
            report(title, runs, radii)
            print(*table([read_run(run) for run in runs], radii), sep="\n")


def table(runs: list[Run], radii: tuple[float, ...]) -> list[str]:
    """Markdown: samples and time against the first run, and points of certified accuracy lost against its Cohen bound."""
    rows = summarise(runs, radii).rows
    fixed = next(row for row in rows if row.run == 0 and row.certifier == "cohen")
    samples = [sum(record.drawn for record in run.records) for run in runs]
    seconds = [sum(record.seconds for record in run.records) for run in runs]
    lines = [
        "| mode | bound | times fewer samples | times faster | more abstained | "
        + " | ".join(f"lost at r = {radius:g}" for radius in radii)
        + " |",
        "| --- " * (5 + len(radii)) + "|",
    ]
    for row in rows:
        asked = runs[row.run].question.mode.radii
        lost = [
            _points(fixed.share(radius) - row.share(radius)) if not asked or radius in asked else "" for radius in radii
        ]
        lines.append(
            f"| {runs[row.run].question.mode.name} | {row.certifier} | {samples[0] / samples[row.run]:.1f} "
            f"| {seconds[0] / seconds[row.run]:.1f} | {_points(row.abstained - fixed.abstained)} | {' | '.join(lost)} |"
        )
    return lines


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


if __name__ == "__main__":
    main()
