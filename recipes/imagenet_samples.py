"""Images of ImageNet's size beside the project: 1,000 training images, 50 validation images, 68 photographs of CBSD68."""

import numpy as np
import torch

from dsmooth.images.opening import open_images
from dsmooth.images.sets import ImageSet
from dsmooth.records.files import write_whole
from dsmooth.training.held_out import held_out_of
from dsmooth.training.surrogates import load_surrogates
from recipes.experiment import DATA, RUNS

_FOLDER = DATA / "imagenet"


def training_images() -> ImageSet:
    """1,000 images of 256 x 256 pixels, one of each class, without labels."""
    return open_images(_FOLDER / "sample1000_256.zip")


def held_out_images() -> ImageSet:
    """The 25 training images that no denoiser was trained on, 224 x 224 pixels, with labels; classifiers know them."""
    return held_out_of(
        open_images(_FOLDER / "sample1000_256.zip", labels=_FOLDER / "sample1000_labels.csv", size=224),
    )


def validation_images() -> ImageSet:
    """50 images of 224 x 224 pixels, with labels."""
    return open_images(_FOLDER / "val50_224.zip", labels=_FOLDER / "val50_labels.csv")


def cbsd68(name: str, spec: str) -> ImageSet:
    """The 68 photographs of CBSD68, 224 x 224 pixels, which no denoiser was trained on.

    The label of each is the answer of the classifier `spec` to it as it is: there is no other. `name` is for file names.
    """
    path, labels = DATA / "photos" / "cbsd68_jpeg.zip", RUNS / f"cbsd68-{name}.csv"
    if not labels.exists():
        (classifier,) = load_surrogates((spec,))
        images = open_images(path, size=224)
        with torch.inference_mode():
            seen = torch.from_numpy(np.stack([image.pixels for image in images])).permute(0, 3, 1, 2).float() / 255
            answers = classifier.answer(seen)
        rows = (f"{name},{answer}\n" for name, answer in zip(images.names, answers, strict=True))
        labels.parent.mkdir(exist_ok=True)
        write_whole(labels, "file,class_index\n" + "".join(rows))
    return open_images(path, labels=labels, size=224)
