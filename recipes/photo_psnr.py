"""PSNR on the 68 photographs of CBSD68: noisy images, denoisers, FFDNet.

python -m recipes.photo_psnr [DENOISER ...]

DENOISER: names or files, `photo` by default. Mean PSNR in dB, the same noise for everyone, estimates clipped to [0, 1],
bf16.
"""

from pathlib import Path

import cyclopts
import numpy as np
import torch

from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.images.opening import open_images
from dsmooth.training.judging import psnr
from recipes.experiment import DATA, main

SIGMAS = (25 / 255, 50 / 255, 0.25, 0.5)
FFDNET_RANGE = 75 / 255  # the largest noise that FFDNet was trained for


def measure(*specs: str) -> None:
    """Print a line for each sigma."""
    denoisers: dict[str, Denoiser] = {spec: load_denoiser(spec) for spec in specs or ("photo",)}
    denoisers["ffdnet"] = load_denoiser(DATA / "denoisers" / "ffdnet_color.safetensors")
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
    app = cyclopts.App(name="python -m recipes.photo_psnr", help=__doc__)
    app.default(measure)
    main(app)
