"""What people are shown: the classifier alone, asked beside threads that vote."""

import threading

import numpy as np
import torch
from torch import nn

from dsmooth import SmoothedClassifier
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.images.sets import LabelledImage, image_set
from dsmooth.records.clean_answers import clean_answers
from dsmooth.runs.certify import certify_run
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.views import Alone, copies, pixels_of
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.votes import Phase
from support import Fixed, Linear


class Deep(nn.Module):
    """Many convolutions with batch normalisation, which take a while to be traced; class 1 where the image is bright."""

    def __init__(self):
        super().__init__()
        parts = [nn.Sequential(nn.Conv2d(3, 3, 1, groups=3, bias=False), nn.BatchNorm2d(3)) for _ in range(80)]
        for part in parts:
            nn.init.ones_(part[0].weight)
        self.body, self.head = nn.Sequential(*parts), Linear()

    def forward(self, x):
        return self.head(self.body(x))


def test_the_classifier_is_asked_alone_while_others_vote():
    """Torch's tracer sees every module of the process: it must be done before anybody computes."""
    alone, other, x = Alone(TorchClassifier(Deep())), Linear(), torch.zeros(1, 3, 8, 8)
    failed, done = [], threading.Event()

    def vote():
        while not done.is_set():
            try:
                other(x)
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=vote)
    thread.start()
    try:
        answers = [alone.answer(np.full((8, 8, 3), value, np.uint8)) for value in (40, 90, 200)]
    finally:
        done.set()
        thread.join()
    assert answers == [0, 0, 1]
    assert failed == []


def test_a_run_keeps_what_the_classifier_alone_answers(tmp_path):
    pixels = [np.full((8, 8, 3), value, np.uint8) for value in (40, 90, 200, 220)]
    images = image_set("abcd", (0, 1, 1, 1), "f", lambda i: LabelledImage("abcd"[i], pixels[i], (0, 1, 1, 1)[i]))
    with SmoothedClassifier(Linear(), lambda x, sigma: 1 - x, 0.25) as smoothed:  # the denoiser turns every answer
        run = certify_run(smoothed, images, tmp_path / "run", n0=20, n=100, seed=0)
    answers = clean_answers(run.folder, run.records)
    assert [answers[record.image] for record in sorted(run.records, key=lambda r: r.index)] == [0, 0, 1, 1]
    assert [record.answer for record in sorted(run.records, key=lambda r: r.index)] == [1, 1, 0, 0]


def test_an_answer_that_is_not_usable_is_none():
    class Failing(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 2), torch.nan)

    assert Alone(TorchClassifier(Failing())).answer(np.zeros((4, 4, 3), np.uint8)) is None
    assert Alone(TorchClassifier(Fixed())).answer(np.zeros((16, 16, 3), np.uint8)) in (0, 1)


def test_copies_are_in_the_scale_of_the_image_whatever_the_law_counts_in():
    stream = MasterKey.draw(0).value[:16]
    pixels = np.full((32, 32, 3), 128, np.uint8)
    noisy, denoised = copies(Uniform(levels=3), lambda x, sigma: 1 - x, pixels, Chunk(Phase.ESTIMATION, stream, 0, 1))
    assert set(np.unique(noisy)) == {127, 128, 129}
    assert (denoised.astype(int) + noisy == 255).all()
    assert (pixels_of(torch.tensor([[[[2.0]], [[-1.0]], [[0.5]]]])) == [[[255, 0, 128]]]).all()
