"""The self-test passes the noise that is drawn, and fails every generator that is broken on purpose."""

import numpy as np
import pytest

from dsmooth.errors import NoiseFailed
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.grid import GridSource
from dsmooth.smoothing.sources.selftest import judge_noise
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.votes import Phase

NOISE = Gaussian(0.25)
DIM = 3 * 32 * 32


def streams(seed):
    return [bytes([seed, phase, *range(14)]) for phase in (1, 2)]


def drawn(law=NOISE, seed=0, samples=171):
    return [GridSource(law).draw(Chunk(Phase.PROBE, stream, 0, samples), DIM)[0] for stream in streams(seed)]


LAWS = [Gaussian(0.002), Gaussian(0.12), Gaussian(0.25), Gaussian(8.0), Uniform(3), Uniform(127), Uniform(2001)]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 3, 1), (32, 32, 3)])
def test_sound_noise_passes_and_says_what_was_measured(law, shape):
    for seed in range(3):
        told = GridSource(law).self_test(streams(seed), shape)
        assert told["coordinates"] >= min(1 << 15, np.prod(shape) * (1 << 15))
        assert all(abs(score) < 8.5 for score in told["scores"].values())
        assert set(told["scores"]) == {"mean", "variance", "coordinates", "samples", "streams"}
        assert told["far"] < 2 * told["expected_far"] + 20


# the same standard deviation, to a hundredth of it, is the hardest to tell apart: uniform 221 has that of sigma .25
@pytest.mark.parametrize("law", [*LAWS, Uniform(221), Gaussian(0.2475)], ids=str)
@pytest.mark.parametrize("other", [*LAWS, Uniform(221), Gaussian(0.2475)], ids=str)
def test_the_noise_of_another_law_fails(law, other):
    noise = drawn(other)
    if law == other:
        judge_noise(law.table, *noise)
    else:
        with pytest.raises(NoiseFailed, match="self-test"):
            judge_noise(law.table, *noise)


def shifted(a, b):
    return a + np.int16(1), b + np.int16(1)  # by one step of 1/255


def too_narrow(a, b):
    return np.where(abs(a) > 180, 0, a).astype(np.int16), b  # a generator that never exceeds 2.8 sigma


def no_tails(a, b):
    return np.clip(a, -255, 255), np.clip(b, -255, 255)  # 4 sigma: moments hardly notice


def one_sign(a, b):
    return np.where((a < 0) & (np.arange(DIM) % 50 == 0), -a, a), b  # ten standard deviations of the balance


def the_same_stream(a, b):
    return a, a.copy()


def repeated_samples(a, b):
    a = a.copy()
    a[1::8] = a[::8][: len(a[1::8])]
    return a, b


def repeated_neighbours(a, b):
    a = a.copy()
    a[:, 1::50] = a[:, ::50][:, : a[:, 1::50].shape[1]]
    return a, b


def the_other_stream_a_sample_later(a, b):
    return a, np.concatenate([b[:1], a[:-1]])


def blocks_repeated(a, b):
    third = DIM // 3
    a = a.copy()
    a[:, third : third + 100] = a[:, :100]  # a third of the image apart
    return a, b


def sample_five_again(a, b):
    a = a.copy()
    a[5:] = np.where(np.arange(len(a) - 5)[:, None] % 20 == 0, a[:-5], a[5:])
    return a, b


BROKEN = [
    the_other_stream_a_sample_later,
    blocks_repeated,
    sample_five_again,
    shifted,
    too_narrow,
    no_tails,
    one_sign,
    the_same_stream,
    repeated_samples,
    repeated_neighbours,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_noise_fails(broken):
    judge_noise(NOISE.table, *drawn())
    with pytest.raises(NoiseFailed, match="self-test"):
        judge_noise(NOISE.table, *broken(*drawn()))


def test_a_run_with_broken_noise_certifies_nothing(tmp_path, monkeypatch):
    from dsmooth import SmoothedClassifier, open_images
    from dsmooth.runs.certify import certify_run
    from support import Constant

    np.savez(tmp_path / "x.npz", images=np.zeros((1, 8, 8, 3), np.uint8))
    images = open_images(tmp_path / "x.npz")
    run = certify_run(SmoothedClassifier(Constant(), None, 0.25), images, tmp_path / "good", n0=2, n=20)
    assert run.header["noise_test"]["coordinates"] >= 1 << 20
    monkeypatch.setattr(GridSource, "draw", lambda self, chunk, dim: (np.ones((chunk.count, dim), np.int16), None))
    with pytest.raises(NoiseFailed):
        certify_run(SmoothedClassifier(Constant(), None, 0.25), images, tmp_path / "bad", n0=2, n=20)
    assert not (tmp_path / "bad").exists()
