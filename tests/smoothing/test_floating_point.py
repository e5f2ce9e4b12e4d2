"""Classifiers that read the low bits of floating point noise: plain noise certifies falsehoods about them, ours does not.

1. The round trip (Jin et al. 2022, arXiv 2205.10159; Voracek and Hein 2023, arXiv 2207.07209): z made as fl(a + noise)
   satisfies fl(fl(z - a) + a) == z, and z made from a neighbour of a often does not.
2. A rounding search: z -> (z + c) - c - z is a linear function that is 0 in exact arithmetic; in floating point it is not
   0 at a share of the noisy values that depends on the image under the noise. The search finds the c, the image and
   the neighbour whose shares differ most.

Both are fixed functions of what they are shown, so the theorem speaks of them; it is the noise that is not Gaussian.
"""

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth import Multiclass, SmoothedClassifier
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.prediction import predict_votes
from dsmooth.theory.votes import Votes
from support import inside

SIGMA = 0.5
N = 1000
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def gap(dtype, differs, level, other):
    """How often a noisy pixel of each level is told apart, and how far apart that is in standard deviations."""
    generator = torch.Generator().manual_seed(1)
    noise = SIGMA * torch.randn(10_000, dtype=dtype, generator=generator)
    a, b = (float(differs(torch.tensor(k / 255, dtype=dtype) + noise).float().mean()) for k in (level, other))
    return abs(b - a) / (a * (1 - a) + b * (1 - b) + 1e-4) ** 0.5, a, b


@cache
def round_trip(dtype):
    """The level, a neighbour, the test of a pixel, and the shares of pixels that fail it around each."""
    best = None
    for level in (19, 25, 32, 43, 49, 64):
        a = torch.tensor(level / 255, dtype=dtype)

        def differs(z, a=a):
            return (z - a) + a != z

        for other in (level - 3, level - 1, level + 1, level + 3):
            found = (*gap(dtype, differs, level, other), level, other, differs)
            best = found if best is None or found[0] > best[0] else best
    return best


@cache
def rounding_search(dtype):
    chance, best = np.random.default_rng(0), None
    for _ in range(400):
        level, step = int(chance.integers(8, 248)), int(chance.integers(1, 4)) * int(chance.choice((-1, 1)))
        c = torch.tensor(chance.random() * 2.0 ** chance.integers(-4, 3), dtype=dtype)

        def differs(z, c=c):
            return (z + c) - c != z

        found = (*gap(dtype, differs, level, level + step), level, level + step, differs)
        best = found if best is None or found[0] > best[0] else best
    return best


class Reader(nn.Module):
    """Class 1 where fewer (or more) pixels than half way between the two shares fail the test, in its own precision."""

    def __init__(self, dtype, differs, share, other):
        super().__init__()
        self.dtype, self.differs, self.middle, self.below = dtype, differs, (share + other) / 2, share < other

    def forward(self, x):
        share = self.differs(x.to(self.dtype)).float().mean(dim=(1, 2, 3))
        margin = (self.middle - share) if self.below else (share - self.middle)
        return torch.stack([-margin, margin], dim=1)


def plain_votes(reader, pixels, n, seed):
    """What most published code does: the image plus torch.randn, in the model's precision."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div(255).to(reader.dtype)
    labels = []
    for _ in range(n // 100):
        noise = torch.randn((100, *x.shape), generator=generator, dtype=reader.dtype)
        labels += reader(x + SIGMA * noise).argmax(1).tolist()
    return Votes({label: labels.count(label) for label in set(labels)}, n)


@pytest.mark.parametrize("attack", [round_trip, rounding_search])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES.keys())
@pytest.mark.parametrize("side", [8, 64])
def test_plain_noise_certifies_falsehoods_and_grid_noise_does_not(attack, dtype, side):
    _, share, other_share, level, neighbour, differs = attack(dtype)
    reader = Reader(dtype, differs, share, other_share)
    image = np.full((side, side, 1), level, np.uint8)
    moved = image.copy()
    # as few pixels as bring the mean to the far side of the middle, and some
    count = side * side if attack is rounding_search or side == 8 else side * side // 2
    moved.reshape(-1)[:count] = neighbour
    if count < side * side:
        reader.middle = share + 0.25 * (other_share - share)

    selection, estimation = plain_votes(reader, image, 100, 1), plain_votes(reader, image, N, 2)
    certificate = Multiclass().certify(selection, estimation, Gaussian(SIGMA), alpha=0.001, dim=image.size)
    attacked = predict_votes(plain_votes(reader, moved, N, 3), 1e-6)
    assert certificate.answer == 1
    assert inside(image, moved, 2.0, Fraction(certificate.radius))
    assert attacked.answer == 0  # certified, inside, and confidently another answer: the certificate is false

    smoothed = SmoothedClassifier(reader, None, SIGMA)
    for start, end in ((image, moved), (moved, image)):
        honest = smoothed.certify(start, n=N, seed=4)
        if honest.answer is not None and inside(start, end, 2.0, Fraction(honest.radius)):
            assert smoothed.predict(end, n=N, alpha=1e-6, seed=5).answer in (None, honest.answer)


@pytest.mark.parametrize("attack", [round_trip, rounding_search])
def test_on_the_grid_both_images_show_the_same_values(attack):
    """Why: the values that a noisy pixel can take are the same whatever is under the noise."""
    from dsmooth.smoothing.chunks import Chunk
    from dsmooth.smoothing.sources.grid import GridSource
    from dsmooth.theory.votes import Phase

    _, share, other_share, level, neighbour, differs = attack(torch.float32)
    noise = Gaussian(SIGMA)
    steps = (
        GridSource(noise).draw(Chunk(Phase.ESTIMATION, bytes(range(16)), 0, 200_000), 1)[0].reshape(-1).astype(np.int32)
    )
    shares = []
    for k in (level, neighbour):
        z = torch.from_numpy(steps + k).float() / 255
        shares.append(float(differs(z).float().mean()))
    # a shift of a few steps under sigma = 127.5 steps moves no probability by more than 3 / (127.5 sqrt(2 pi))
    assert abs(shares[0] - shares[1]) < 3 / (127.5 * 2.5) + 0.01
    assert abs(share - other_share) > 0.1
