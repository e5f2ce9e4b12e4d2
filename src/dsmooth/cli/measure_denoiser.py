"""Measure a denoiser."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dsmooth.cli.options import ALL, MANY, Data, Whole
from dsmooth.console import Bar, note, say

__all__ = ["measure_denoiser"]

_PICTURE = 64  # pixels a side: smaller images are enlarged in the picture


def measure_denoiser(
    images: Path,
    /,
    *,
    denoiser: Annotated[str, Parameter(alias="-d")] = "photo",
    classifier: Annotated[str | None, Parameter(alias="-c")] = None,
    sigma: Annotated[list[float] | None, MANY, Parameter(alias="-s")] = None,
    picture: Path | None = None,
    pictured: Whole = 4,
    seed: Whole = 0,
    data: Data = ALL,
) -> None:
    """Measure a denoiser on images: PSNR, SSIM, and a classifier's accuracy on the denoised images.

    Uses one noisy copy of each image; nothing is certified. Images larger than 224 pixels are cropped to their upper left
    224 x 224 pixels, unless --size is given.

    Examples:

        dsmooth test-denoiser photos/ --denoiser photo --sigma 0.1 0.25 0.5 --picture strip.png

        dsmooth test-denoiser cifar-10-batches-bin/ -d denoisers/mine -c cifar:resnet56@resnet56.safetensors --skip 20

    Parameters
    ----------
    images: Path
        A folder or zip of images, one file, a CIFAR-10 binary folder, or an .npz.
    denoiser: str
        As in `dsmooth certify`, except none.
    classifier: str
        As in `dsmooth certify`; for an image without a label, its answer on the clean image counts as correct.
    sigma: list[float]
        Noise levels; by default the ends and the middle of the range that the denoiser was trained for.
    picture: Path
        PNG file to write: clean, noisy, denoised, residual; a row for each image and sigma.
    pictured: int
        Number of images in the picture.
    seed: int
        Seed of the noise.
    """
    import torch

    from dsmooth.classifiers.specs import load_classifier
    from dsmooth.denoisers.loading import load_denoiser
    from dsmooth.errors import BadImage, BadParameter
    from dsmooth.theory.bounds import check_count
    from dsmooth.theory.laws.gaussian import Gaussian
    from dsmooth.training.measure import Measurement, measure, picture_strip

    data.check()
    check_count(pictured, "pictured")
    check_count(seed, "seed", least=0)
    for level in sigma or ():
        Gaussian(level)
    network = load_denoiser(denoiser)
    levels = sigma or sorted({round(f, 4) for f in _thirds(network.sigma_range)})
    asked = None if classifier is None else load_classifier(classifier)
    chosen, _ = data.open(images, asked)
    first = chosen[:pictured]
    shapes = {image.pixels.shape for image in first}
    network.check(torch.empty(1, first[0].pixels.shape[2], 8, 8))
    if picture is not None:
        if picture.is_dir() or not picture.absolute().parent.is_dir():
            raise BadParameter(f"--picture {picture}: expected a file to write, in a folder that exists")
        if len(shapes) > 1:
            raise BadImage(
                f"expected images of one size for a picture, got {len(shapes)} sizes: pass --size SIDE, or --pictured 1"
            )
    low, high = network.sigma_range or (0.0, math.inf)
    for level in levels:
        if not low <= level <= high:
            note(f"sigma {level:g} is outside what this denoiser was trained for ({low:g} to {high:g})")
    say("| sigma | images | PSNR | SSIM |" + (" accuracy |" if asked else ""))
    say("| --- | --- | --- | --- |" + (" --- |" if asked else ""))
    with Bar("measure", 2 * len(levels), "rows") as bar:
        done = 0

        def show(row: Measurement) -> None:
            nonlocal done
            done += 1
            share = "" if row.accuracy is None else f" {100 * row.accuracy:.1f} % |"
            kind = "denoised" if row.denoised else "noisy"
            bar.say(f"| {row.sigma:g} | {kind} | {row.psnr:.2f} dB | {row.ssim:.3f} |{share}")
            bar.to(done)

        measure(network.denoise, chosen, levels, asked, seed=seed, on_row=show)
    if picture is not None:
        scale = max(1, -(-_PICTURE // max(first[0].pixels.shape[:2])))
        strip = picture_strip(network.denoise, first, levels, seed=seed, scale=scale)
        strip.save(picture, format="PNG")
        say(f"picture: {picture}")


def _thirds(trained: tuple[float, float] | None) -> tuple[float, ...]:
    low, high = trained or (0.25, 0.25)
    return low, (low + high) / 2, high
