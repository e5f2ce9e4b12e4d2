"""The noise that a GPU draws is the noise that a CPU draws, pixel by pixel.

Without a GPU the kernel runs in Triton's interpreter, where Triton is installed and TRITON_INTERPRET=1 is set.
"""

import importlib.util
import os

import numpy as np
import pytest
import torch

from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.grid import GridSource
from dsmooth.smoothing.sources.grid_cuda import CudaGridSource
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.votes import Phase

GPU = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cuda" if GPU and not INTERPRETED else "cpu")
pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("triton") or not (GPU or INTERPRETED), reason="needs Triton, and an NVIDIA GPU"
)


def asked(shape, rng, far=0):
    addresses = ((0, 3), (17, 2), (far, 2))
    return [
        (rng.integers(0, 256, shape, dtype=np.uint8), Chunk(Phase.ESTIMATION, rng.bytes(16), first, count))
        for first, count in addresses
    ]


@pytest.mark.parametrize("law", [Gaussian(0.12), Gaussian(0.25), Gaussian(1.0), Uniform(127), Uniform(3)], ids=str)
@pytest.mark.parametrize("shape", [(32, 32, 3), (5, 7, 3), (3, 3, 1)])
def test_word_for_word(law, shape):
    wanted = asked(shape, np.random.default_rng(0), far=10**9)
    here = GridSource(law).noisy(wanted, 9)
    there = CudaGridSource(law, DEVICE).noisy(wanted, 9)
    assert np.array_equal(there.steps.cpu().numpy(), here.steps)
    assert there.undecided.tolist() == here.undecided.tolist()


@pytest.mark.skipif(not GPU, reason="takes minutes in the interpreter")
@pytest.mark.parametrize("sigma", [0.05, 0.5, 2.0])
def test_ten_million_coordinates(sigma):
    noise, rng = Gaussian(sigma), np.random.default_rng(1)
    wanted = [(np.zeros((32, 32, 3), np.uint8), Chunk(Phase.SELECTION, rng.bytes(16), 5, 3300))]
    here, there = (source.noisy(wanted, 3300) for source in (GridSource(noise), CudaGridSource(noise, DEVICE)))
    assert np.array_equal(there.steps.cpu().numpy(), here.steps)


def test_a_word_on_a_threshold_is_undecided_in_both():
    noise, shape = Gaussian(0.25), (4, 4, 3)
    wanted = asked(shape, np.random.default_rng(2))
    here = GridSource(noise)
    chunk = wanted[1][1]
    generator = np.random.Philox(key=np.frombuffer(chunk.stream, "<u8"), counter=[17 * 12, 0, 0, 0])
    word = generator.random_raw(48)[5]
    thresholds = np.sort(np.append(here.thresholds, word))  # as if the law had a step just there
    guide = here.guide.copy()
    guide[int(word) >> 48] = -32768
    here.thresholds, here.guide = thresholds, guide
    there = CudaGridSource(noise, DEVICE)
    there._thresholds = torch.tensor(thresholds.view(np.int64), device=DEVICE)
    there._guide = torch.tensor(guide, device=DEVICE)
    there._count = len(thresholds)
    expected, found = here.noisy(wanted, 7), there.noisy(wanted, 7)
    assert expected.undecided.tolist() == found.undecided.tolist() == [False, False, False, True, False, False, False]
    assert np.array_equal(found.steps.cpu().numpy(), expected.steps)
