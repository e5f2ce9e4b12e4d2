"""What there is of ImageNet beside the project: 1,000 training images, one of each class, and 50 validation images."""

from dsmooth.images.opening import open_images
from dsmooth.images.sets import ImageSet
from dsmooth.training.held_out import held_out_of
from recipes.experiment import DATA

_FOLDER = DATA / "imagenet"


def training_images() -> ImageSet:
    """1,000 images of 256 x 256 pixels, without labels."""
    return open_images(_FOLDER / "sample1000_256.zip")


def held_out_images() -> ImageSet:
    """The 25 training images that no denoiser was trained on, 224 x 224 pixels, with labels; classifiers know them."""
    return held_out_of(
        open_images(_FOLDER / "sample1000_256.zip", labels=_FOLDER / "sample1000_labels.csv", size=224),
    )


def validation_images() -> ImageSet:
    """50 images of 224 x 224 pixels, with labels."""
    return open_images(_FOLDER / "val50_224.zip", labels=_FOLDER / "val50_labels.csv")
