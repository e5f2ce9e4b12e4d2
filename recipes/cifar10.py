"""CIFAR-10 as the recipes use it: training images, test images, classifiers."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dsmooth.images.opening import open_images
from dsmooth.images.sets import ImageSet
from dsmooth.training.held_out import held_out_of
from dsmooth.training.resident import Resident
from recipes.experiment import DATA, RUNS

_FILES = {"resnet8": "mlperf_tiny_resnet8"}
_ACROSS, _SIDE = 100, 32  # a mosaic has 100 x 100 images of 32 x 32 pixels


def classifier(name: str) -> str:
    """The spec of a CIFAR-10 classifier: resnet8, resnet20, resnet32, resnet56."""
    return f"cifar:{name}@{DATA / 'cifar10_models' / _FILES.get(name, name)}.safetensors"


def training_images() -> ImageSet:
    """The 50,000 training images with labels; runs/cifar10_train.npz keeps them decoded."""
    path = RUNS / "cifar10_train.npz"
    if not path.exists():
        folder = DATA / "cifar10"
        images = np.concatenate([_mosaic(folder / f"train_{i}.webp") for i in range(1, 6)])
        labels = np.load(folder / "labels.npz")["train_labels"]
        _keep(path, images=images, labels=labels)
    return open_images(path)


def held_out_images(distort: float = 0.0) -> ImageSet:
    """The 1,250 training images that no denoiser is trained on, with labels.

    The classifiers know them by heart. With `distort`, so many are drawn of them with replacement, each turned, scaled and
    changed in contrast by up to this share: the classifiers know these as little as test images. runs/ keeps them.
    """
    held_out = held_out_of(training_images())
    if not distort:
        return held_out
    path = RUNS / f"cifar10_held_out-distorted{distort:g}.npz"
    if not path.exists():
        resident = Resident(list(held_out), 0, torch.device("cpu"), distort)
        images, labels = resident.batch(len(held_out), torch.Generator().manual_seed(0))
        assert labels is not None
        pixels = (255 * images).round().byte().permute(0, 2, 3, 1)
        _keep(path, images=pixels.numpy(), labels=labels.numpy())
    return open_images(path)


def test_images() -> ImageSet:
    """Every 20th test image, 500 in all, with labels: the ones that the papers certify."""
    return open_images(DATA / "cifar10" / "test_every20.npz")


def _keep(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    np.savez(partial, **arrays)
    partial.replace(path)


def _mosaic(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(_ACROSS, _SIDE, _ACROSS, _SIDE, 3)
    return pixels.transpose(0, 2, 1, 3, 4).reshape(-1, _SIDE, _SIDE, 3)
