"""What is certified is one fixed function, whatever the module does to make that hard."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth import BadModel, BadParameter, BadRun, SmoothedClassifier, open_images
from dsmooth.backends.networks import copy_for_inference, digest_module
from dsmooth.runs.certify import certify_run
from dsmooth.theory.laws.base import _table_of
from dsmooth.theory.laws.gaussian import Gaussian
from support import Constant, different_images

IMAGES = different_images(6, 128, (8, 8, 3))


def certify(module, denoiser=None, **options):
    return SmoothedClassifier(module, denoiser, 0.5, **options).certify(IMAGES, n0=20, n=200, seed=0)


class Forgetful(nn.Module):
    """Keeps its input on itself, works for a while without the interpreter's lock, and reads it again."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)

    def forward(self, x):
        self.first = x
        for _ in range(3):
            self.conv(x)
        margin = self.first.float().mean(dim=(1, 2, 3)) - 0.5
        return torch.stack([-margin, margin], dim=1)


def test_threads_do_not_meet_in_one_network():
    module = Forgetful()
    expected = certify(module, workers=1, batch=16)
    for _ in range(3):
        assert certify(module, workers=4, batch=16) == expected


class BatchMean(nn.Module):
    def forward(self, x):
        margin = (x.float().mean() - 0.5).expand(len(x))
        return torch.stack([-margin, margin], dim=1)


class BatchStatistics(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        margin = self.norm(x).mean(dim=(1, 2, 3))
        return torch.stack([-margin, margin], dim=1)


@pytest.mark.parametrize("module", [BatchMean(), BatchStatistics()])
def test_classifiers_that_look_at_the_rest_of_the_batch_are_refused(module):
    with pytest.raises(BadModel, match="depends on the other images in the batch"):
        certify(module, batch=32)


def test_alone_in_its_batch_any_image_is_in_good_company():
    assert len(certify(BatchMean(), batch=1)) == 6


def test_a_classifier_with_dice_of_its_own_is_recorded_as_such(tmp_path):
    class Dice(nn.Module):
        def forward(self, x):
            return torch.rand(len(x), 2)

    np.savez(tmp_path / "x.npz", images=IMAGES)
    for module, expected in ((Dice(), True), (Constant(), False)):
        run = certify_run(
            SmoothedClassifier(module, None, 0.5), open_images(tmp_path / "x.npz"), tmp_path / str(expected), n0=5, n=20
        )
        assert {record.nondeterministic for record in run.records} == {expected}


def test_parts_in_plain_lists_are_in_eval_mode_too():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = [nn.Dropout(0.9), {"deep": nn.BatchNorm1d(3)}]

    module = Hidden().train()
    twin = copy_for_inference(module, torch.float32)
    assert not twin.parts[0].training
    assert not twin.parts[1]["deep"].training
    assert module.parts[0].training
    assert twin.parts[1]["deep"] is not module.parts[1]["deep"]


def test_a_forward_that_holds_on_to_the_original_is_refused():
    model = Constant()
    model.inner = nn.Dropout(0.5)
    model.forward = lambda x, original=model: original.inner(x)
    cell = model.inner
    model.forward = lambda x: cell(x)
    with pytest.raises(BadModel, match="forward was replaced"):
        certify(model)


def test_a_method_of_a_module_as_denoiser_runs_in_eval_mode():
    class Wild(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.99)

        def clean(self, x, sigma):
            assert not self.drop.training
            return x

    wild = Wild().train()
    assert certify(Constant(), wild.clean)[0].answer == 3
    assert wild.drop.training


def test_a_plain_function_is_asked_by_one_thread_at_a_time():
    busy = threading.Lock()

    def alone(x, sigma):
        assert busy.acquire(blocking=False)
        try:
            return x + 0
        finally:
            busy.release()

    certify(Constant(), alone, workers=4, batch=4)


def test_a_denoised_image_that_is_not_finite_is_a_missing_vote():
    class Shrug(nn.Module):
        def forward(self, x):
            return torch.nan_to_num(x).mean(dim=(2, 3))

    def broken(x, sigma):
        return torch.where(x[:, :1, :1, :1] > 0.5, x, torch.nan)

    for certificate in certify(Shrug(), broken):
        assert 50 < certificate.estimation.missing < 150


class Odd:
    """A Classifier that is no module, and answers what it is told to."""

    name, class_names, input_size = "odd", None, None

    def __init__(self, answer):
        self.answer = answer

    def prepared(self, backend):
        return lambda images: [self.answer] * len(images)

    def digest(self):
        return "0" * 64


@pytest.mark.parametrize("answer", [float("nan"), 1.0, [1], torch.tensor(0.5)])
def test_answers_that_are_no_labels_are_refused(answer):
    with pytest.raises(BadModel, match="expected a label as a whole number up to 1e12 or text in UTF-8, got"):
        certify(Odd(answer))


@pytest.mark.parametrize("answer", [np.int64(3), torch.tensor(3), 3])
def test_whole_numbers_of_any_type_are_labels(answer):
    certificate = certify(Odd(answer))[0]
    assert certificate.answer == 3
    assert type(certificate.answer) is int
    assert certify(Odd("tabby"))[0].answer == "tabby"
    assert certify(Odd(None))[0].estimation.missing == 200


def test_digests_see_what_is_not_in_the_state():
    class Level(nn.Module):
        def __init__(self, level, scale):
            super().__init__()
            self.level = level
            self.register_buffer("scale", torch.tensor(scale), persistent=False)

    digests = {digest_module("x", Level(level, scale)) for level, scale in ((1, 1.0), (2, 1.0), (1, 2.0))}
    assert len(digests) == 3
    assert digest_module("x", Level(1, 1.0)) == digest_module("x", Level(1, 1.0))
    assert digest_module("x", nn.Sequential(nn.ReLU())) != digest_module("x", nn.Sequential(nn.Tanh()))


def test_a_run_with_an_opaque_denoiser_is_not_resumed(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES)
    images = open_images(tmp_path / "x.npz")
    smoothed = SmoothedClassifier(Constant(), lambda x, sigma: x, 0.5)
    certify_run(smoothed, images, tmp_path / "run", n0=5, n=20)
    with pytest.raises(BadRun, match="plain function"):
        certify_run(smoothed, images, tmp_path / "run", n0=5, n=20, resume=True)


def test_numbers_are_normalised_before_they_are_written(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES)
    images, smoothed = open_images(tmp_path / "x.npz"), SmoothedClassifier(Constant(), None, 0.5)
    run = certify_run(
        smoothed, images, tmp_path / "run", n0=np.int64(5), n=np.int64(20), alpha=np.float64(0.01), norm=2
    )
    question = run.records[0].asked
    assert (question.alpha, question.norm, question.n, type(question.n)) == (0.01, 2.0, 20, int)
    certify_run(smoothed, images, tmp_path / "run", n0=5, n=20, alpha=0.01, norm=2, resume=True)
    with pytest.raises(BadParameter, match="n must be a whole number"):
        certify_run(smoothed, images, tmp_path / "other", n=20.5)
    with pytest.raises(BadParameter, match="expected different images"):
        certify_run(smoothed, images.subset([0, 0]), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_threads_that_ask_for_laws_at_once_get_the_exact_ones():
    expected = {sigma: Gaussian(sigma).table.thresholds.copy() for sigma in (0.11, 0.13, 0.17, 0.19)}
    _table_of.cache_clear()
    found = {}
    threads = [threading.Thread(target=lambda s=s: found.update({s: Gaussian(s).table.thresholds})) for s in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[sigma], expected[sigma]) for sigma in expected)
