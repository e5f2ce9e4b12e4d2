"""Images of ImageNet's size beside the project: 1,000 training images, 50 validation images, 68 photographs of CBSD68."""

import torch

from dsmooth.classifiers.local import TorchClassifier
from dsmooth.classifiers.specs import load_classifier
from dsmooth.images.opening import open_images
from dsmooth.images.sets import ImageSet
from dsmooth.records.files import write_whole
from dsmooth.training.held_out import held_out_of
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


def photographs(spec: str) -> ImageSet:
    """The 68 photographs of CBSD68, 224 x 224 pixels, which no denoiser was trained on.

    The label of each is this classifier's answer to it as it is: there is no other.
    """
    path, labels = DATA / "photos" / "cbsd68_jpeg.zip", RUNS / f"cbsd68-{spec}.csv"
    if not labels.exists():
        classifier = load_classifier(spec)
        assert isinstance(classifier, TorchClassifier)
        network, lines = classifier.network(), ["file,class_index"]
        for image in open_images(path, size=224):
            seen = torch.from_numpy(image.pixels.transpose(2, 0, 1).copy())[None].float() / 255
            with torch.inference_mode():
                lines.append(f"{image.name},{int(network(seen).argmax())}")
        labels.parent.mkdir(exist_ok=True)
        write_whole(labels, "\n".join(lines) + "\n")
    return open_images(path, labels=labels, size=224)
