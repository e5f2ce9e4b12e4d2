"""What every source must keep, whatever noise it makes; and sources that draw no single steps, through the whole river."""

import numpy as np
import pytest
import torch

from contracts.kinds import Brightness
from dsmooth import SmoothedClassifier, TorchClassifier, open_images
from dsmooth.errors import BadModel
from dsmooth.records.schema import Record, votes_from_json
from dsmooth.runs.certify import certify_run
from dsmooth.runs.replay import replayed
from dsmooth.runs.verify import Outcome, read_evidence, verify_evidence
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.sources.base import Rows, Source
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.votes import Phase
from support import Linear, dsmooth, put_to_the_vote, question

LAWS = [Gaussian(0.25), Uniform(127), Splitting(21), Lighting(0.25, 0.1, 0.05, 0.1), Brightness(0.25, 0.1)]
STREAM = bytes(range(16))
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 5, 3, 3), dtype=np.uint8)


def samples(source, first, count, image=IMAGES[0]):
    return np.asarray(source.noisy([(image, Chunk(Phase.ESTIMATION, STREAM, first, count))], count).steps)


@pytest.mark.parametrize("law", LAWS, ids=str)
class TestSource:
    def test_a_sample_follows_from_its_address(self, law):
        source, other = source_of(law), source_of(law)
        whole = samples(source, 0, 21)
        for first, count in ((0, 1), (3, 5), (20, 1)):
            assert np.array_equal(samples(other, first, count), whole[first : first + count])
        assert len({row.tobytes() for row in whole}) == 21

    def test_images_share_a_batch_and_padding_repeats_the_first_row(self, law):
        source = source_of(law)
        asked = [(IMAGES[i], Chunk(Phase.ESTIMATION, STREAM, i, 2)) for i in range(2)]
        rows = source.noisy(asked, 7)
        steps = np.asarray(rows.steps)
        assert np.array_equal(steps[:2], samples(source, 0, 2, IMAGES[0]))
        assert np.array_equal(steps[2:4], samples(source, 1, 2, IMAGES[1]))
        assert all(np.array_equal(row, steps[0]) for row in steps[4:])

    def test_the_image_is_under_the_noise(self, law):
        source = source_of(law)
        dark, light = (samples(source, 0, 20, np.full((8, 8, 3), value, np.uint8)).mean() for value in (60, 200))
        levels = source.noisy([(IMAGES[0], Chunk(Phase.ESTIMATION, STREAM, 0, 1))], 1).levels
        assert 0.3 < (light - dark) / levels / (140 / 255) < 1.1

    def test_it_tests_itself(self, law):
        assert isinstance(source_of(law).self_test([STREAM, STREAM[::-1]], (8, 8, 3)), dict)


@pytest.mark.parametrize(
    "steps", [np.zeros((2, 5, 3, 3), np.int16), np.zeros((3, 5, 3, 3), np.float32), torch.zeros((3, 5, 3, 3))], ids=str
)
def test_rows_of_another_kind_are_refused(steps):
    class Odd(Source):
        def _noisy(self, asked, rows):
            return Rows(steps)

        def self_test(self, streams, shape):
            return {}

    with pytest.raises(BadModel, match="expected a source of noise that makes int16 rows of shape"):
        Odd().noisy([(IMAGES[0], Chunk(Phase.ESTIMATION, STREAM, 0, 3))], 3)


def test_an_enumerated_law_is_asked_for_all_its_outcomes_and_no_more(tmp_path):
    law, seen = Splitting(21), []

    class Watching(Linear):
        def forward(self, x):
            seen.extend((x * 1020).round().to(torch.int32).flatten(1).tolist())
            return super().forward(x)

    asked = question(law)
    assert (asked.n0, asked.n, asked.alpha, asked.bound) == (0, 21, 0.0, "exact")
    (tally,) = put_to_the_vote(Watching(), IMAGES[:1], asked, MasterKey.draw(), batch=21)
    votes = seen[-21:]
    assert len({tuple(row) for row in votes}) == 21
    assert set(tally.streams) == {Phase.ESTIMATION}
    assert tally.streams[Phase.ESTIMATION] == b""
    assert tally.drawn == 21


def test_enumerated_certificates_need_no_key_and_are_the_same_for_whoever_asks(tmp_path):
    law = Splitting(63)
    np.savez(tmp_path / "x.npz", images=np.concatenate([IMAGES, 255 - IMAGES, IMAGES // 2]), labels=[1, 1, 0, 0, 0, 0])
    images = open_images(tmp_path / "x.npz")
    runs = [
        certify_run(SmoothedClassifier(Linear(), None, law, batch=batch), images, tmp_path / str(batch))
        for batch in (5, 64)
    ]
    one, other = ([(r.answer, r.radius, r.estimation, r.selection) for r in run.records] for run in runs)
    assert one == other
    assert any(record.answer is not None for record in runs[0].records)
    for record in runs[0].records:
        assert votes_from_json(record.estimation).trials == 63
        assert votes_from_json(record.selection).trials == 0
        assert Record.parse(record.line()) == record
    answers = SmoothedClassifier(Linear(), None, law).replay(
        images[0], {Phase.ESTIMATION: b""}, [(Phase.ESTIMATION, i) for i in range(63)]
    )
    labels = list(answers)
    assert {label: labels.count(label) for label in set(labels)} == votes_from_json(
        runs[0].records[0].estimation
    ).counts
    done = dsmooth("report", tmp_path / "64", "--out", tmp_path / "report")
    assert done.code == 0, done.err
    assert "exact" in (tmp_path / "report" / "table.md").read_text()
    evidence = read_evidence(tmp_path / "64")
    checks = [*verify_evidence(evidence, images), *replayed(evidence, images, TorchClassifier(Linear()), None, 0.01)]
    assert {check.outcome for check in checks} <= {Outcome.HOLDS, Outcome.TOLD}, checks
    assert "378 of 378 votes are the same" in checks[-1].detail  # all outcomes, whatever the share


class Restless(torch.nn.Module):
    def forward(self, x):
        return torch.rand(len(x), 2)


def test_what_is_left_to_chance_gets_no_certificate_without_chance(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES)
    with pytest.raises(BadModel, match="answer the same image differently"):
        certify_run(
            SmoothedClassifier(Restless(), None, Splitting(21)), open_images(tmp_path / "x.npz"), tmp_path / "run"
        )
    with pytest.raises(BadModel, match="answer the same image differently"):
        SmoothedClassifier(Restless(), None, Splitting(21)).predict(IMAGES[0])


def test_predicting_under_an_enumerated_law_asks_for_all_outcomes():
    smoothed = SmoothedClassifier(Linear(), None, Splitting(21))
    certificates, predictions = smoothed.certify(IMAGES), smoothed.predict(IMAGES, n=7)
    for certificate, prediction in zip(certificates, predictions, strict=True):
        assert prediction.votes == certificate.estimation
        assert prediction.votes.trials == 21
        assert certificate.answer in (None, prediction.answer)
        assert prediction.alpha == prediction.p_value == 0.0


def test_the_radius_of_an_enumerated_law_holds_for_every_image_around(tmp_path):
    """Exhaustion: all images of two coordinates and few steps, a classifier that splits them crookedly."""

    class Crooked(torch.nn.Module):
        def forward(self, x):
            a, b = x.flatten(1)[:, 0], x.flatten(1)[:, 1]
            return torch.stack([torch.full_like(a, 0.4), (a - b).abs(), 1.2 * a * b], dim=1)

    law = Splitting(41)
    smoothed = SmoothedClassifier(Crooked(), None, law, batch=64)
    side = range(100, 160, 6)
    grid = np.array([(a, b) for a in side for b in side], np.uint8).reshape(-1, 1, 2, 1)
    found = smoothed.certify(grid)
    answers = [certificate.answer for certificate in found]
    checked = 0
    for image, certificate in zip(grid, found, strict=True):
        for other, answer in zip(grid, answers, strict=True):
            distance = int(np.abs(image.astype(int) - other).sum())
            if certificate.answer is not None and distance <= 255 * certificate.radius:
                checked += distance > 0
                assert answer in (certificate.answer, None)
    assert checked > 10


def test_a_law_in_a_subspace_takes_more_words_than_the_image_has_coordinates(tmp_path):
    law = Brightness(0.05, 0.2)
    source = source_of(law)
    grey = np.full((7, 5, 1), 128, np.uint8)
    drawn = samples(source, 0, 4000, grey).astype(float) - 128
    common = drawn.reshape(4000, -1).mean(axis=1)
    assert abs(common.std() / 255 - 0.2) < 0.02  # the whole image moves
    assert abs((drawn.reshape(4000, -1) - common[:, None]).std() / 255 - 0.05) < 0.003
    correlation = np.corrcoef(common[1:], common[:-1])[0, 1]
    assert abs(correlation) < 7 / 4000**0.5  # and no word is shared with the next sample
    np.savez(tmp_path / "x.npz", images=IMAGES)
    images = open_images(tmp_path / "x.npz")
    run = certify_run(SmoothedClassifier(Linear(), None, law), images, tmp_path / "run", n=60)
    assert [record.law for record in run.records] == [law, law]
    evidence = read_evidence(tmp_path / "run")
    checks = [*verify_evidence(evidence, images), *replayed(evidence, images, TorchClassifier(Linear()), None, 1.0)]
    assert Outcome.FAILS not in {check.outcome for check in checks}, checks
    assert "320 of 320 votes are the same" in checks[-1].detail
