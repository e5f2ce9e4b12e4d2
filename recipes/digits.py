"""A data set of another kind: scikit-learn's 1,797 handwritten digits, 8 x 8 grey pixels (pip install scikit-learn).

    python -m recipes.digits

writes runs/digits_train.npz and runs/digits_test.npz (every fourth digit) and trains the classifier that is to be protected,
runs/digits_classifier.safetensors, as somebody trained it who never thought of noise. The rest is three commands of dsmooth:
see the section on images of your own in docs/guide/denoisers.md.
"""

import cyclopts
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recipes.experiment import RUNS, main

WEIGHTS = RUNS / "digits_classifier.safetensors"


class Digits(nn.Module):
    """Grey images (B, 1, 8, 8) in [0, 1] -> logits of the ten digits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.conv1 = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1, stride=2)
        self.conv2, self.linear = nn.Conv2d(64, 64, 3, padding=1), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv0, self.conv1, self.conv2):
            x = F.relu(conv(x))
        logits: Tensor = self.linear(x.amax(dim=(2, 3)))
        return logits


def classifier() -> nn.Module:
    """What is protected: for `-c import:recipes.digits:classifier`."""
    network = Digits()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def prepare(*, steps: int = 1500) -> None:
    """Write the images and train the classifier on them."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype(np.uint8)[..., None]
    test = np.arange(len(images)) % 4 == 0
    RUNS.mkdir(exist_ok=True)
    for name, chosen in (("train", ~test), ("test", test)):
        np.savez(RUNS / f"digits_{name}.npz", images=images[chosen], labels=digits.target[chosen])
    torch.manual_seed(0)
    x, y = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(digits.target)
    training = torch.from_numpy(np.flatnonzero(~test))
    network = Digits()
    adam = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    line = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, steps)
    for _ in range(steps):
        drawn = training[torch.randint(len(training), (64,))]
        adam.zero_grad()
        F.cross_entropy(network(x[drawn]), y[drawn]).backward()
        adam.step()
        line.step()
    save_file(network.state_dict(), WEIGHTS)
    with torch.inference_mode():
        right = float((classifier()(x[test]).argmax(dim=1) == y[test]).float().mean())
    print(f"classifier: {WEIGHTS}, right on {100 * right:.1f} % of {int(test.sum())} test images")


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.digits", help=__doc__)
    app.default(prepare)
    main(app)
