"""Certified accuracy against the change of brightness, and of one channel.

    python -m recipes.lighting cifar10 [--kinds brightness colour] [--strengths 0.05 0.1 0.2] [--every 5] [--n 1000]
    python -m recipes.lighting imagenet [--kinds brightness] [--strengths 0.05 0.1 0.2] [--n 300] [--sigma 0.25]

CIFAR-10: ResNet-56 behind `cifar10-white`, images of the paper's subset of 500. ImageNet: EfficientNet-Lite0 behind
`photo-light`, the 50 images of 224 pixels. A line for each strength of the noise on the light: the share of images that are
certified for the right label at every change by up to so many levels either way, and below it the same of pictures as
they are stored, cut off at 0 and 255, where what is cut off counts as a change of the pixels. Mode fixed, n0 = 100,
multiclass bound, alpha = .001, bf16. Interrupted, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import numpy as np
import numpy.typing as npt

from dsmooth.cli.options import MANY
from dsmooth.images.sets import ImageSet
from dsmooth.records.schema import certificate_of
from dsmooth.records.store import read_run
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.laws.lighting import Lighting
from recipes.cifar10 import classifier, test_images
from recipes.experiment import certify, main
from recipes.imagenet_samples import validation_images

SHOWN = (0, 4, 8, 16, 24, 32, 48, 64)
"""Levels of 255."""

Bytes = npt.NDArray[np.uint8]
Kind = Literal["brightness", "colour"]


@dataclass(frozen=True)
class Setting:
    """Images, what is certified on them, and how much of it unless something else is said."""

    images: Callable[[], ImageSet]
    network: str
    denoiser: str
    kinds: Sequence[Kind]
    every: int
    n: int


SETTINGS = {
    "cifar10": Setting(
        test_images, classifier("resnet56"), "cifar10-white", kinds=("brightness", "colour"), every=5, n=1000
    ),
    "imagenet": Setting(validation_images, "efficientnet-lite0", "photo-light", kinds=("brightness",), every=1, n=300),
}


def table(
    data: Literal["cifar10", "imagenet"],
    /,
    *,
    kinds: Annotated[list[Kind] | None, MANY] = None,
    strengths: Annotated[list[float], MANY] = [0.05, 0.1, 0.2],  # noqa: B006
    every: int | None = None,
    n: int | None = None,
    sigma: float = 0.25,
    denoiser: str | None = None,
    workers: int | None = None,
) -> None:
    """Certify every EVERY-th image of DATA under noise of each strength on each KIND of light, and print two lines each."""
    usual = SETTINGS[data]
    kinds, every, n, denoiser = kinds or [*usual.kinds], every or usual.every, n or usual.n, denoiser or usual.denoiser
    images = usual.images()[::every]
    print(f"| noise | changes | {' | '.join(map(str, SHOWN))} |", "| --- " * (2 + len(SHOWN)) + "|", sep="\n")
    for kind in kinds:
        for strength in strengths:
            law = Lighting(sigma, **{kind: strength})
            name = f"{data}-light-{Path(denoiser).stem}-{kind}{strength:g}-every{every}-n{n}-sigma{sigma:g}"
            run = read_run(certify(name, images, usual.network, denoiser, law, n=n, workers=workers))
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
    app = cyclopts.App(name="python -m recipes.lighting", help=__doc__)
    app.default(table)
    main(app)
