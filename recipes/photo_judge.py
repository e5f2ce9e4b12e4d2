"""Which denoiser for photographs to certify: what two classifiers that no denoiser has met make of the denoised images.

    python -m recipes.photo_judge photo-light runs/photo-stab/halfway.safetensors [--sigma 0.25 0.5] [--draws 8]

93 photographs that no denoiser was trained on: the 25 held-out ImageNet images with their labels, and the 68 of CBSD68,
where the classifier's answer to the clean image counts as true. For each denoiser: PSNR and, behind EfficientNet-Lite0 and
MobileNetV2 (`python -m recipes.mobilenet_v2 --help`), the mean probability of the true class and the share of noise draws
that are recognised, with the difference from the first denoiser and its standard error over the images. All see the same
noise. Probabilities resolve smaller differences than certified radii do, which take many more draws.
"""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts
import numpy as np
import torch
from torch import Tensor

from dsmooth.cli.options import MANY
from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.training.surrogates import load_surrogates
from recipes.experiment import main
from recipes.imagenet_samples import cbsd68, held_out_images
from recipes.imagenet_unseen import CLASSIFIERS

UNSEEN = ("lite0", "mobilenet")
_BATCH = 16


def judge(
    denoiser: str,
    /,
    *others: str,
    sigma: Annotated[list[float], MANY] = [0.25, 0.5],  # noqa: B006
    draws: int = 8,
) -> None:
    """Print a table of DENOISER and OTHERS for each SIGMA, with the differences of these from DENOISER."""
    denoisers = {spec: load_denoiser(spec).eval() for spec in (denoiser, *others)}  # all, before the first one works
    images, labels = photographs()
    classifiers = dict(zip(UNSEEN, load_surrogates([CLASSIFIERS[name] for name in UNSEEN]), strict=True))
    measures = ["PSNR", *(f"{name}: {what}" for name in UNSEEN for what in ("true class", "recognised"))]
    for value in sigma:
        print(f"\nsigma {value:g}, {len(images)} images, {draws} draws each")
        print("| denoiser |", " | ".join(measures), "|\n|", " | ".join(["---"] * (1 + len(measures))), "|")
        first = None
        for spec, network in denoisers.items():
            found = measured(network, value, draws, images, labels, classifiers)
            first = found if first is None else first
            cells = [f"{row.mean():.3f}{difference(row - other)}" for row, other in zip(found, first, strict=True)]
            print(f"| {spec} |", " | ".join(cells), "|", flush=True)


def photographs() -> tuple[Tensor, dict[str, Tensor]]:
    """The images (93, 3, 224, 224) in [0, 1], and for each classifier what counts as their label."""
    held = list(held_out_images())
    sets = {name: [*held, *cbsd68(name, CLASSIFIERS[name])] for name in UNSEEN}
    pixels = np.stack([image.pixels for image in sets["lite0"]])
    labels = {name: torch.tensor([image.label for image in images]) for name, images in sets.items()}
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, labels


def measured(
    denoiser: Denoiser, sigma: float, draws: int, images: Tensor, labels: dict[str, Tensor], classifiers: dict[str, Any]
) -> Tensor:
    """The mean over the draws: one row for each measure, one column for each image."""
    noise = torch.Generator().manual_seed(7)
    rows = []
    for _ in range(draws):
        for at in range(0, len(images), _BATCH):
            clean = images[at : at + _BATCH]
            noisy = clean + sigma * torch.randn(clean.shape, generator=noise)
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                seen = denoiser(noisy, torch.full((len(clean),), sigma)).float()
                row = [-10 * ((seen.clamp(0, 1) - clean) ** 2).mean((1, 2, 3)).log10()]
                for name, classifier in classifiers.items():
                    answers = classifier.network(seen).float().softmax(1)
                    true = labels[name][at : at + _BATCH]
                    row += [answers[torch.arange(len(true)), true], (answers.argmax(1) == true).float()]
            rows.append(torch.stack(row))
    return torch.cat(rows, 1).reshape(len(rows[0]), draws, len(images)).mean(1)


def difference(of_images: Tensor) -> str:
    """The mean with its standard error; nothing where the two are the same."""
    if not of_images.any():
        return ""
    return f" ({of_images.mean():+.3f} ± {of_images.std() / len(of_images) ** 0.5:.3f})"


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.photo_judge", help=__doc__)
    app.default(judge)
    main(app)
