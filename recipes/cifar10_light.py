"""CIFAR-10, ResNet-56 behind `cifar10-white`: certified accuracy against the change of brightness, and of one channel.

    python -m recipes.cifar10_light [--strengths 0.05 0.1 0.2] [--every 5] [--n 1000] [--sigma 0.25]

A line for each strength of the noise on the light: the share of images that are certified for the right label at every
change by up to so many levels either way, and below it the same of pictures as they are stored, cut off at 0 and 255,
where what is cut off counts as a change of the pixels. Mode fixed, multiclass bound, alpha = .001, bf16. Images are of the
paper's subset of 500. Interrupted, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import cyclopts
import numpy as np
import numpy.typing as npt

from dsmooth.cli.options import MANY
from dsmooth.records.schema import certificate_of
from dsmooth.records.store import read_run
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.lighting import Lighting
from recipes.cifar10 import classifier, test_images
from recipes.experiment import certify

SHOWN = (0, 4, 8, 16, 24, 32, 48, 64)
"""Levels of 255."""
KINDS = ("brightness", "colour")

Bytes = npt.NDArray[np.uint8]


def table(
    *,
    strengths: Annotated[list[float], MANY] = [0.05, 0.1, 0.2],  # noqa: B006
    every: int = 5,
    n: int = 1000,
    sigma: float = 0.25,
    workers: int | None = None,
) -> None:
    """Certify every EVERY-th image of 500 under noise of each strength on the brightness, and on the colour."""
    images = test_images()[::every]
    print(f"| noise | changes | {' | '.join(map(str, SHOWN))} |", "| --- " * (2 + len(SHOWN)) + "|", sep="\n")
    for kind in KINDS:
        for strength in strengths:
            law = Lighting(sigma, **{kind: strength})
            name = f"cifar10-light-{kind}{strength:g}-every{every}-n{n}-sigma{sigma:g}"
            run = read_run(certify(name, images, classifier("resnet56"), "cifar10-white", law, n=n, workers=workers))
            reached = [[-1, -1]] * len(run.records)  # not even the image itself
            for place, record in enumerate(run.records):
                certificate = certificate_of(record)
                if certificate.answer is not None and certificate.answer == record.label:
                    open_to = int(LEVELS * certificate.extents[kind])
                    reached[place] = [open_to, stored(certificate, kind, images[record.index].pixels)]
            for what, levels in zip(("any", "cut off at 0 and 255"), np.array(reached).T, strict=True):
                shares = (f"{100 * np.mean(levels >= level):.0f}" for level in SHOWN)
                print(f"| {kind} {strength:g} | {what} | {' | '.join(shares)} |", flush=True)


def stored(certificate: Certificate, kind: str, pixels: Bytes) -> int:
    """The most levels at all changes by up to which, of each of its kind and either way, the stored picture is covered."""
    level = 0
    while level < SHOWN[-1] and all(certificate.covers(pixels, other) for other in changed(kind, pixels, level + 1)):
        level += 1
    return level


def changed(kind: str, pixels: Bytes, level: int) -> Iterator[Bytes]:
    """The picture brighter and darker by so many levels; of colour, in each channel on its own."""
    for channels in [slice(None)] if kind == "brightness" else range(pixels.shape[2]):
        for step in (level, -level):
            other = pixels.astype(np.int64)
            other[:, :, channels] += step
            yield np.clip(other, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.cifar10_light", help=__doc__)
    app.default(table)
    app()
