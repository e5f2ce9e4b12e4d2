"""The denoiser `photo` that ships: photographs at ImageNet size, sigma .08 to .6.

python -m recipes.photo_denoiser train     an hour on two cores; continues where it stopped
python -m recipes.photo_denoiser measure      PSNR on CBSD68 beside the noisy images and FFDNet
"""

import sys
from pathlib import Path

import numpy as np
import torch

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.images.opening import open_images
from dsmooth.training.judging import psnr
from dsmooth.training.recipe import Recipe
from recipes.experiment import DATA, RUNS, teach
from recipes.imagenet_samples import training_images

NETWORK = {
    "architecture": "unet",
    "config": {"widths": [64, 96, 160], "blocks": [2, 2, 2]},
    "sigma_range": (0.08, 0.6),
}
STAGES = {
    # the first third of a long schedule, at a high learning rate; then a shorter descent to zero from there
    "photo-1": Recipe(**NETWORK, steps=7_000, horizon=22_000, lr=1e-3, batch=16, patch=64, seed=1),
    "photo-2": Recipe(
        **NETWORK, steps=6_000, lr=5e-4, batch=16, patch=64, seed=2, start=str(RUNS / "photo-1" / "model.safetensors")
    ),
}
STORY = "400 photographs of BSDS500 (train, test) and 1,000 ImageNet images, random crops"
SIGMAS = (25 / 255, 50 / 255, 0.25, 0.5)
FFDNET_RANGE = 75 / 255  # the largest noise that FFDNet was trained for


def learn() -> None:
    """runs/photo-2/model.safetensors; copied to src/dsmooth/denoisers/shipped/photo.safetensors it is what ships."""
    sets = [open_images(DATA / "photos" / "bsds500_train_test_400.zip"), training_images()]
    for name, recipe in STAGES.items():
        out = RUNS / name
        if (out / "model.safetensors").exists():
            continue
        print(teach(recipe, sets, out, data=STORY))


def measure(spec: str = "photo") -> None:
    """Mean PSNR in dB over CBSD68, the same noise for everyone, estimates clipped to [0, 1], bf16."""
    denoisers: dict[str, Denoiser] = {
        spec: load_denoiser(spec),
        "ffdnet": load_denoiser(DATA / "denoisers" / "ffdnet_color.safetensors"),
    }
    for denoiser in denoisers.values():
        denoiser.to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    images = open_images(DATA / "photos" / "cbsd68_jpeg.zip")
    print(f"| sigma | noisy | {' | '.join(Path(name).name for name in denoisers)} |")
    print(f"| --- | --- | {' | '.join('---' for _ in denoisers)} |")
    for sigma in SIGMAS:
        values: dict[str, list[float]] = {name: [] for name in ("noisy", *denoisers)}
        for i, image in enumerate(images):
            clean = torch.from_numpy(image.pixels.transpose(2, 0, 1).copy())[None].float() / 255
            noise = torch.from_numpy(np.random.default_rng(i).standard_normal(clean.shape, dtype=np.float32))
            noisy = clean + sigma * noise
            values["noisy"].append(psnr(noisy, clean))
            for name, denoiser in denoisers.items():
                with torch.inference_mode():
                    values[name].append(psnr(denoiser.denoise(noisy.bfloat16(), sigma), clean))
        beyond = "" if sigma <= FFDNET_RANGE else " (beyond its training)"
        cells = [f"{np.mean(v):.2f}" for v in values.values()]
        print(f"| {sigma:.3f} | {' | '.join(cells)}{beyond} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        learn()
    elif sys.argv[1:2] == ["measure"]:
        measure(*sys.argv[2:3])
    else:
        sys.exit(__doc__)
