"""CIFAR-10, ResNet-56, sigma .25: what off-the-shelf denoisers certify (the paper's Appendix on off-the-shelf denoisers).

Every fifth of the 500 images that the papers use (every 20th test image), n0 = 100, n = 1,000, alpha = .001, bf16.
"""

from recipes.cifar10 import classifier, test_images
from recipes.experiment import DATA, certify, report

DENOISERS = {"none": None, "dncnn-blind": "dncnn_color_blind", "ffdnet": "ffdnet_color"}


def main() -> None:
    images = test_images()[::5]
    runs = [
        certify(
            f"cifar10-sigma25-resnet56-{name}",
            images,
            classifier("resnet56"),
            None if file is None else DATA / "denoisers" / f"{file}.safetensors",
            0.25,
        )
        for name, file in DENOISERS.items()
    ]
    report("cifar10-sigma25-resnet56", runs, (0.0, 0.25, 0.5))


if __name__ == "__main__":
    main()
