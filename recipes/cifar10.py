"""CIFAR-10 as the recipes use it: training images, test images, classifiers."""

from pathlib import Path

import numpy as np
from PIL import Image

from dsmooth.images.opening import open_images
from dsmooth.images.sets import ImageSet
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
        RUNS.mkdir(exist_ok=True)
        partial = path.with_name("partial-cifar10_train.npz")
        np.savez(partial, images=images, labels=labels)
        partial.replace(path)
    return open_images(path)


def test_images() -> ImageSet:
    """Every 20th test image, 500 in all, with labels: the ones that the papers certify."""
    return open_images(DATA / "cifar10" / "test_every20.npz")


def _mosaic(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(_ACROSS, _SIDE, _ACROSS, _SIDE, 3)
    return pixels.transpose(0, 2, 1, 3, 4).reshape(-1, _SIDE, _SIDE, 3)
