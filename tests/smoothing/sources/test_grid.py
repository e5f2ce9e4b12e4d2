import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.sources.grid import GridSource
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.modes import Mode
from dsmooth.theory.votes import Phase
from support import CHANCE, question

NOISE = Gaussian(0.25)
SAMPLER = GridSource(NOISE)
STREAM = bytes(range(16))


def draw(first, count, dim=12, stream=STREAM, sampler=SAMPLER):
    return sampler.draw(Chunk(Phase.ESTIMATION, stream, first, count), dim)[0]


def test_the_generator_is_philox4x64_10():
    # the published known answer for key 0, counter 0; NumPy counts up before it draws
    words = np.random.Philox(key=0, counter=(1 << 256) - 1).random_raw(4)
    assert [f"{word:016x}" for word in words] == [
        "16554d9eca36314c",
        "db20fe9d672d0fdc",
        "d7e772cee186176b",
        "7e68b68aec7ba23b",
    ]


def test_noise_is_what_it_always_was():
    # pinned: any change here changes every certificate that was ever reproducible
    digest = hashlib.sha256(draw(0, 40, dim=33).astype("<i2").tobytes()).hexdigest()
    assert digest == "87d7359e7eeb13fd9e70e71784aaa88d8129e98ca44feee42df94b31b88148cf"


def test_one_word_decides_one_coordinate_by_the_exact_thresholds():
    dim, law = 10, NOISE.table
    key = np.frombuffer(STREAM, dtype="<u8").astype(np.uint64)
    for sample in (0, 1, 7):
        words = np.random.Philox(key=key, counter=[sample * 3, 0, 0, 0]).random_raw(12)[:dim]
        plainly = [law.first + sum(int(t) < int(word) for t in law.thresholds) for word in words]
        assert draw(sample, 1, dim)[0].tolist() == plainly


@settings(max_examples=60)
@given(
    st.integers(0, 10**12), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from([1, 3, 27, 64, 3072])
)
def test_noise_of_a_sample_does_not_depend_on_the_batch(first, sizes, dim):
    whole = draw(first, sum(sizes), dim)
    start = first
    for size in sizes:
        part = draw(start, size, dim)
        assert np.array_equal(part, whole[start - first : start - first + size])
        start += size


def test_streams_differ_by_key_image_phase_and_everything_that_decides_the_claim():
    key, other, image = MasterKey.draw(seed=1), MasterKey.draw(seed=2), "a" * 64
    usual = question(NOISE)
    changed = [
        question(Gaussian(0.5)),
        question(Uniform(levels=127)),
        question(NOISE, n0=99),
        question(NOISE, n=999),
        question(NOISE, alpha=0.01),
        question(NOISE, norm=1.0),
        question(NOISE, mode=Mode("curve", (0.25,))),
        question(NOISE, mode=Mode("curve", (0.5,))),
        question(NOISE, mode=Mode("radius", price=1e-3)),
        question(NOISE, bound="cohen"),
        question(NOISE, bound="multiclass-0.5"),
        question(NOISE, bound="prediction"),
        question(NOISE, classifier="another"),
        question(NOISE, denoiser="another"),
        question(NOISE, preparation="another"),
    ]
    streams = [
        key.stream(usual, image, Phase.ESTIMATION),
        key.stream(usual, image, Phase.SELECTION),
        key.stream(usual, "b" * 64, Phase.ESTIMATION),
        other.stream(usual, image, Phase.ESTIMATION),
        *(key.stream(asked, image, Phase.ESTIMATION) for asked in changed),
    ]
    assert len(set(streams)) == len(streams) == 19
    assert MasterKey.draw().value != MasterKey.draw().value


def test_circumstances_change_no_stream():
    key, image = MasterKey.draw(seed=1), "a" * 64
    expected = key.stream(question(NOISE), image, Phase.ESTIMATION)
    for changed in (
        {"dtype": "bf16"},
        {"backend": "openvino"},
        {"batch_size": 7},
        {"batch_area": 1},
        {"generator": "x"},
    ):
        assert key.stream(question(NOISE, **changed), image, Phase.ESTIMATION) == expected


@pytest.mark.parametrize("sigma", [0.12, 1.0])
def test_the_drawn_noise_has_the_law(sigma):
    sampler, count, dim = GridSource(Gaussian(sigma)), 400, 5000
    noise = draw(0, count, dim, sampler=sampler).ravel()
    edges = np.unique(np.rint(np.linspace(-5, 5, 81) * 255 * sigma).astype(int))
    for edge in edges:
        p = float(special.ndtr((edge + 0.5) / (255 * sigma)))
        seen = int((noise <= edge).sum())
        chance = 2 * min(stats.binom.cdf(seen, noise.size, p), stats.binom.sf(seen - 1, noise.size, p))
        assert chance > CHANCE / len(edges), (edge, seen, p)


def test_coordinates_and_samples_are_uncorrelated():
    noise = draw(0, 4000, 50).astype(np.float64)
    scaled = noise / (255 * 0.25)
    limit = -special.ndtri(CHANCE / 10_000) / np.sqrt(len(scaled))
    correlations = np.corrcoef(scaled.T) - np.eye(50)
    assert np.abs(correlations).max() < limit
    assert abs(np.mean(scaled[1:] * scaled[:-1])) < -special.ndtri(CHANCE) / np.sqrt(scaled.size)


def test_words_on_a_threshold_are_undecided():
    law = NOISE.table
    words = np.zeros((2, 4), dtype=np.uint64) + law.thresholds[len(law.thresholds) // 2] + np.uint64(1)
    words[1, 2] -= np.uint64(1)
    steps, undecided = SAMPLER.steps(words)
    assert undecided.tolist() == [False, True]
    assert (steps[0] == 1 + law.first + len(law.thresholds) // 2).all()
    extremes = np.array([[0, 0, 0, 0], [2**64 - 1] * 4], dtype=np.uint64)
    assert SAMPLER.steps(extremes)[1].all()
