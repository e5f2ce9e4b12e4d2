"""The loop that published code certifies with (Cohen et al. 2019, algorithm 1; Salman et al. 2020), to compare with.

Float32 throughout: a batch of copies of the image, noise by torch.randn, denoiser, classifier, arg max, and a Python loop
that counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = ["Defended", "reference_loop"]


class Defended(nn.Module):
    """Denoiser, then classifier (its normalisation included): images (B, C, H, W) in [0, 1] -> logits."""

    def __init__(self, denoiser: nn.Module, classifier: nn.Module, sigma: float) -> None:
        super().__init__()
        self.denoiser, self.classifier, self.sigma = denoiser, classifier, sigma

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.denoiser(x, x.new_full((len(x),), self.sigma)))


def reference_loop(
    network: nn.Module, pixels: npt.NDArray[np.uint8], sigma: float, n: int, batch: int = 400, classes: int = 10
) -> npt.NDArray[np.int64]:
    """Counts of the classes among n noisy copies of the image (H, W, 3); the network is in eval mode, on its device."""
    device = next(network.parameters()).device
    image = torch.from_numpy(pixels).permute(2, 0, 1).float().div(255).to(device)
    counts = np.zeros(classes, dtype=np.int64)
    with torch.no_grad():
        left = n
        while left > 0:
            rows = min(batch, left)
            left -= rows
            copies = image.repeat((rows, 1, 1, 1))
            noise = torch.randn_like(copies) * sigma
            for label in network(copies + noise).argmax(1).cpu().numpy():
                counts[label] += 1
    return counts
