"""ImageNet, EfficientNet-Lite0, sigma .25: with the denoiser that ships, and without one.

50 validation images, n0 = 20, n = 100, alpha = .001, bf16.
"""

from dsmooth.images import open_images
from recipes.experiment import DATA, certify, report


def main() -> None:
    folder = DATA / "imagenet"
    images = open_images(folder / "val50_224.zip", labels=folder / "val50_labels.csv")
    runs = [
        certify(
            f"imagenet-sigma25-lite0-{denoiser or 'none'}", images, "efficientnet-lite0", denoiser, 0.25, n0=20, n=100
        )
        for denoiser in (None, "photo")
    ]
    report("imagenet-sigma25-lite0", runs, (0.0, 0.2, 0.37, 0.5))


if __name__ == "__main__":
    main()
