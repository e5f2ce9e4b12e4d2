"""A small diffusion model of scikit-learn's digits, in the format of EDM's networks: after python -m recipes.digits,

    python -m recipes.digits_diffusion

trains DDPM++ by the loss of Karras et al. 2022 on runs/digits_train.npz, without labels and without the classifier, and
writes runs/digits-edm.safetensors. As a denoiser it is asked once (Carlini et al. 2023): -d edm:runs/digits-edm.safetensors.
"""

import copy
import json
from typing import Any

import cyclopts
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dsmooth.console import Bar
from dsmooth.denoisers.diffusion import Diffusion
from dsmooth.denoisers.song_unet import SongUNet
from recipes.experiment import RUNS

PATH = RUNS / "digits-edm.safetensors"
NETWORK: dict[str, Any] = {
    "img_resolution": 8, "model_channels": 32, "channel_mult": [1, 2], "num_blocks": 2, "attn_resolutions": [4],
}  # fmt: skip
KEPT = 0.999  # of the averaged weights, at each step
LOG_MEAN, LOG_SPREAD = -1.2, 1.2  # of the noise, in units of [-1, 1] (Karras et al., table 1)


def learn(*, steps: int = 2000, batch: int = 64, rate: float = 2e-3, seed: int = 0) -> None:
    """Train the network, and write it."""
    torch.manual_seed(seed)
    digits = torch.from_numpy(np.load(RUNS / "digits_train.npz")["images"]).permute(0, 3, 1, 2).float() / 255
    spread = 2 * float(digits.std())
    denoiser = Diffusion(
        SongUNet(in_channels=1, out_channels=1, **NETWORK), "edm", spread=spread, channels=1, multiple=2
    )
    average = copy.deepcopy(denoiser)
    adam = torch.optim.AdamW(denoiser.parameters(), lr=rate)
    line = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, steps)
    with Bar("diffusion model", steps, "steps") as bar:
        for step in range(steps):
            down, right = torch.randint(0, 3, (2,)).tolist()  # moved by up to a pixel
            x = F.pad(digits[torch.randint(len(digits), (batch,))], (1, 1, 1, 1))[
                :, :, down : down + 8, right : right + 8
            ]
            s = (LOG_MEAN + LOG_SPREAD * torch.randn(batch)).exp()
            error = 2 * (denoiser(x + s.view(-1, 1, 1, 1) / 2 * torch.randn_like(x), s / 2) - x)
            weights = (s**2 + spread**2) / (s * spread) ** 2
            adam.zero_grad()
            (weights * error.square().mean(dim=(1, 2, 3))).mean().backward()
            adam.step()
            line.step()
            with torch.no_grad():
                for old, new in zip(average.parameters(), denoiser.parameters(), strict=True):
                    old.lerp_(new, 1 - min(KEPT, step / (step + 9)))
            bar.to(step + 1)
    told = {"class": "EDMPrecond", "model_type": "SongUNet", "img_channels": 1, "label_dim": 0, "sigma_data": spread}
    arrays = {f"model.{name}": value for name, value in average.network.state_dict().items()}
    save_file(arrays, PATH, metadata={"edm": json.dumps({**told, **NETWORK})})
    print(f"denoiser: edm:{PATH}")


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.digits_diffusion", help=__doc__)
    app.default(learn)
    app()
