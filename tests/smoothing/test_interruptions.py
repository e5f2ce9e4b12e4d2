"""What the scheduler does when the ground moves: no memory, and a classifier that changes while it is asked."""

import numpy as np
import pytest
import torch

from dsmooth import BadModel, SmoothedClassifier, open_images
from dsmooth.errors import Drifted
from dsmooth.records.schema import votes_from_json
from dsmooth.records.sidecar import read_sidecar
from dsmooth.runs.certify import certify_run
from support import Threshold, different_images


class Allocator(Threshold):
    """Threshold, on a device that holds `room` rows at a time, from its `after`-th call on."""

    def __init__(self, room, after=0, words="CUDA out of memory. Tried to allocate 2 GiB"):
        super().__init__(100)
        self.device = {"room": room, "after": after, "calls": 0}  # a dictionary: no part of what is certified
        self.words = [words]

    def forward(self, x):
        self.device["calls"] += 1
        if self.device["calls"] > self.device["after"] and len(x) > self.device["room"]:
            raise RuntimeError(*self.words)
        return super().forward(x)


@pytest.fixture
def images(tmp_path):
    np.savez(tmp_path / "x.npz", images=different_images(5, 100))
    return open_images(tmp_path / "x.npz")


@pytest.mark.parametrize("after", [0, 5, 8])
@pytest.mark.parametrize("words", ["CUDA out of memory.", "DefaultCPUAllocator: can't allocate memory: you tried"])
def test_out_of_memory_halves_the_batch_with_the_same_noise_and_says_so(tmp_path, images, after, words):
    said = []
    arguments = {"n0": 10, "n": 60, "seed": 0}
    smoothed = SmoothedClassifier(Allocator(16, after, words), None, 0.25, batch=64, workers=1)
    run = certify_run(smoothed, images, tmp_path / "run", **arguments, on_notice=said.append)
    calm = certify_run(SmoothedClassifier(Allocator(1000), None, 0.25), images, tmp_path / "calm", **arguments)
    assert [line for line in said if "restarts in batches of 16, with the same noise" in line]
    assert [(r.selection, r.estimation) for r in run.records] == [(r.selection, r.estimation) for r in calm.records]
    batches = [r.batch[0] for r in run.records]
    assert batches[-1] == 16
    assert batches == sorted(batches, reverse=True)
    for record in run.records:
        labels = list(read_sidecar(run.folder, record.votes, 70))
        assert votes_from_json(record.estimation).of(1) == labels[10:].count(1)


def test_no_memory_for_one_image_is_said(tmp_path, images):
    with pytest.raises(BadModel, match="not enough memory for a single image"):
        certify_run(SmoothedClassifier(Allocator(0), None, 0.25, batch=4), images, tmp_path / "run", n0=2, n=4)


class Turncoat(Threshold):
    """Answers the other class from its `after`-th call on."""

    def __init__(self, after):
        super().__init__(100)
        self.after, self.calls = after, 0

    def forward(self, x):
        self.calls += 1
        logits = super().forward(x)
        return logits if self.calls <= self.after else torch.flip(logits, (1,))


@pytest.mark.parametrize("after", [50, 290])
def test_a_classifier_that_changes_its_mind_stops_the_run(tmp_path, images, after):
    smoothed = SmoothedClassifier(Turncoat(after), None, 0.25, batch=4, workers=1)
    with pytest.raises(Drifted, match="differently than at the start"):
        certify_run(smoothed, images, tmp_path / "run", n0=4, n=240)  # 305 batches: canaries after 200 and at the end
    assert not (tmp_path / "run" / "end.json").exists()
