"""How often a backend and dtype vote as torch in float32 does, on the same noisy images and real weights.

CIFAR-10: DnCNN and ResNet-56, sigma .25 and .5, 100 test images with 10 noisy copies each. ImageNet: `photo` and
EfficientNet-Lite0, sigma .25 and .5, 50 validation images with 4 copies each. A backend that votes differently certifies
another, equally fixed function: what is compared is what is certified with what may be deployed.
"""

from collections.abc import Sequence

import torch

from dsmooth.backends.choice import fastest
from dsmooth.classifiers.specs import load_classifier
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.images.sets import ImageSet
from dsmooth.records.question import PREDICTION
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.votes import Label
from recipes.cifar10 import classifier, test_images
from recipes.experiment import DATA
from recipes.imagenet_samples import validation_images

ROWS = {32: 50, 224: 4}  # a batch, by the height of its images


def backends() -> list[tuple[str, str]]:
    """What is compared with eager fp32 on this machine."""
    found = [("eager", "bf16")]
    if fastest("bf16") == "openvino":
        found += [("openvino", "fp32"), ("openvino", "bf16")]
    if fastest("bf16") == "cuda":
        found += [("cuda", "fp32"), ("cuda", "tf32"), ("cuda", "bf16")]
    return found


def measure(title: str, images: ImageSet, model: str, denoiser: str, sigma: float, copies: int) -> None:
    """Prints a row for each backend."""
    network, cleaner = load_classifier(model), load_denoiser(denoiser)
    rows = ROWS[images[0].pixels.shape[0]]

    def votes(name: str, dtype: str) -> list[Label | None]:
        """In order of images and samples; the noise is the same whatever runs the networks."""
        found: dict[str, list[Label | None]] = {key: [] for key in images.names}

        def keep(tally: Tally, chunk: Chunk, labels: Sequence[Label | None]) -> None:
            found[tally.image.name].extend(labels)

        options = {"dtype": dtype, "backend": name, "batch": rows, "workers": 1}
        with SmoothedClassifier(network, cleaner, sigma, **options) as smoothed:
            question = smoothed.question(bound=PREDICTION, n=copies)
            for _ in smoothed.tallies(images, question, MasterKey.draw(0), on_votes=keep):
                pass
        return [label for labels in found.values() for label in labels]

    expected = votes("eager", "fp32")
    for name, dtype in backends():
        same = sum(one == other for one, other in zip(votes(name, dtype), expected, strict=True))
        share = same / len(expected)
        print(f"| {title} | {sigma} | {name} {dtype} | {same} of {len(expected)} | {share:.1%} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print("| networks | sigma | backend | same vote as eager fp32 | share |\n| --- | --- | --- | --- | --- |")
    cifar = test_images()[::5]
    resnet = classifier("resnet56")
    dncnn = str(DATA / "denoisers" / "dncnn_color_blind.safetensors")
    imagenet = validation_images()
    for sigma in (0.25, 0.5):
        measure("DnCNN + ResNet-56, 32 px", cifar, resnet, dncnn, sigma, 10)
    for sigma in (0.25, 0.5):
        measure("`photo` + EfficientNet-Lite0, 224 px", imagenet, "efficientnet-lite0", "photo", sigma, 4)


if __name__ == "__main__":
    main()
