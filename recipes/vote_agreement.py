"""How often a backend and dtype vote as torch in float32 does, on the same noisy images and real weights.

CIFAR-10: DnCNN and ResNet-56, sigma .25 and .5, 100 test images with 10 noisy copies each. ImageNet: `photo` and
EfficientNet-Lite0, sigma .25 and .5, 50 validation images with 4 copies each. A backend that votes differently certifies
another, equally fixed function: what is compared is what is certified with what may be deployed.
"""

import numpy as np
import torch
from dsmooth.smoothing.sampler import Sampler

from dsmooth.backends.choice import backend_named, fastest
from dsmooth.classifiers.specs import load_classifier
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.images.sets import ImageSet
from dsmooth.records.digests import digest_image
from dsmooth.smoothing.chunks import Chunk, MasterKey, Phase
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.theory.laws.gaussian import Gaussian
from recipes.cifar10 import classifier, test_images
from recipes.experiment import DATA
from recipes.imagenet_samples import validation_images

ROWS = {32: 50, 224: 4}  # a batch: images of one shape, a multiple of the copies of each


def backends() -> list[tuple[str, str]]:
    """What is compared with eager fp32 on this machine."""
    found = [("eager", "bf16")]
    if fastest("bf16") == "openvino":
        found += [("openvino", "fp32"), ("openvino", "bf16")]
    if fastest("bf16") == "cuda":
        found += [("cuda", "fp32"), ("cuda", "tf32"), ("cuda", "bf16")]
    return found


def noisy(images: ImageSet, sigma: float, copies: int) -> np.ndarray:
    """Every image with the noise of `copies` samples, in steps of 1/255."""
    sampler, key = Sampler(Gaussian(sigma)), MasterKey.draw(0)
    batches = []
    for image in images:
        stream = key.stream(digest_image(image.pixels), Gaussian(sigma), Phase.ESTIMATION)
        batches.append(sampler.noisy([(image.pixels, Chunk(Phase.ESTIMATION, stream, 0, copies))], copies)[0])
    return np.concatenate(batches)


def measure(title: str, images: ImageSet, model: str, denoiser: str, sigma: float, copies: int) -> None:
    """Prints a row for each backend."""
    network, cleaner = load_classifier(model), load_denoiser(denoiser)
    batch = noisy(images, sigma, copies)
    rows = ROWS[batch.shape[1]]

    def votes(name: str, dtype: str) -> np.ndarray:
        pipeline = Pipeline(network, cleaner, sigma, backend_named(name, dtype, 1))
        return np.array([label for i in range(0, len(batch), rows) for label in pipeline.labels(batch[i : i + rows])])

    expected = votes("eager", "fp32")
    for name, dtype in backends():
        same = int((votes(name, dtype) == expected).sum())
        print(f"| {title} | {sigma} | {name} {dtype} | {same} of {len(batch)} | {same / len(batch):.1%} |", flush=True)


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
