"""CIFAR-10, ResNet-56: accuracy at one draw of the noise, alone and averaged with the mirror image; 500 images, 4 draws.

python -m recipes.cifar10_mirror [--denoiser cifar10-white] [--sigma 0.25 0.5]

The same noise for both. The mirror image is made of the denoised image (what `certify --mirror` does) or of the noisy one,
which the denoiser then sees twice.
"""

import argparse
import math

import numpy as np
import torch

from dsmooth.classifiers.specs import load_classifier
from dsmooth.denoisers.loading import load_denoiser
from recipes.cifar10 import classifier, test_images

DRAWS, ROWS = 4, 100


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--denoiser", default="cifar10-white")
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.25, 0.5])
    chosen = parser.parse_args()
    images = test_images()
    pixels = torch.from_numpy(np.stack([image.pixels for image in images])).permute(0, 3, 1, 2).float()
    labels = torch.tensor(images.labels)
    logits, denoise = load_classifier(classifier("resnet56")).network(), load_denoiser(chosen.denoiser).eval()
    print(
        "| sigma | alone | after the denoiser | before it | votes that change |",
        "| --- | --- | --- | --- | --- |",
        sep="\n",
    )
    for sigma in chosen.sigma:
        torch.manual_seed(0)
        right = torch.zeros(3, DRAWS * len(labels), dtype=torch.bool)
        changed = 0
        for start in range(0, DRAWS * len(labels), ROWS):
            rows = torch.arange(start, start + ROWS) % len(labels)
            noisy = (pixels[rows] + 255 * sigma * torch.randn_like(pixels[rows])).round() / 255
            level = torch.full((ROWS,), sigma)
            with torch.inference_mode():
                clean = denoise(noisy, level)
                one, after = logits(clean), logits(clean.flip(3))
                before = logits(denoise(noisy.flip(3), level))
            answers = [scores.argmax(dim=1) for scores in (one, one + after, one + before)]
            changed += int((answers[0] != answers[1]).sum())
            for place, answer in enumerate(answers):
                right[place, start : start + ROWS] = answer == labels[rows]
        shares = right.float().mean(dim=1).tolist()
        told = " | ".join(f"{share:.3f}" for share in shares)
        print(f"| {sigma:g} | {told} | {changed / right.shape[1]:.3f} |")
        per_image = (
            (right[1].float() - right[0].float()).view(DRAWS, -1).mean(dim=0)
        )  # draws of one image are not independent
        print(f"gained {shares[1] - shares[0]:.4f} +- {float(per_image.std()) / math.sqrt(len(labels)):.4f}")


if __name__ == "__main__":
    main()
