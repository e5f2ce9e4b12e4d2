import _thread
import signal
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth.errors import BadModel, BadParameter
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.votes import Phase
from support import Constant, Linear, Sometimes, Threshold, different_images, put_to_the_vote, question

KEY = MasterKey.draw(seed=5)
NOISE = Gaussian(0.5)
DEMAND = {Phase.SELECTION: 7, Phase.ESTIMATION: 53}


def tallies(module, pixels, *, batch=16, workers=1, demand=DEMAND, on_votes=None, dtype="fp32"):
    options = {"batch": batch, "workers": workers, "on_votes": on_votes, "dtype": dtype}
    return list(put_to_the_vote(module, pixels, question(NOISE, demand), KEY, **options))


def results(found):
    return [(tally.image.name, tally.votes(Phase.SELECTION), tally.votes(Phase.ESTIMATION)) for tally in found]


def test_votes_do_not_depend_on_batch_or_workers():
    images = np.random.default_rng(0).integers(108, 148, (9, 3, 5, 3)).astype(np.uint8)
    expected = results(tallies(Linear(), images))
    assert len({str(votes) for _, _, votes in expected}) > 3
    for batch, workers in ((1, 1), (7, 3), (64, 2), (1000, 2)):
        assert results(tallies(Linear(), images, batch=batch, workers=workers)) == expected


def test_images_come_back_in_order_with_every_trial_counted():
    found = tallies(Constant(), different_images(20, 0), workers=3)
    assert [tally.image.name for tally in found] == [str(i) for i in range(20)]
    for tally in found:
        assert tally.votes(Phase.SELECTION).counts == {3: 7}
        assert tally.votes(Phase.ESTIMATION).counts == {3: 53}


def test_every_batch_has_one_shape_and_images_share_it():
    shapes = []

    class Shape(nn.Module):
        def forward(self, x):
            shapes.append(tuple(x.shape))
            return torch.zeros(len(x), 2)

    mixed = [*different_images(3, 0, (2, 3, 1)), *different_images(3, 0, (4, 3, 1))]
    found = tallies(Shape(), mixed, batch=50)
    assert len(found) == 6
    # 3 images of 60 samples fill 3.6 batches of 50: four for each shape, where each image alone would take two
    # (and the probe asks four times at each new shape)
    assert shapes == [(50, 1, 2, 3)] * 8 + [(50, 1, 4, 3)] * 8


def test_selection_and_estimation_see_different_noise():
    seen = []

    class Watch(nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return torch.zeros(len(x), 2)

    tallies(Watch(), different_images(1, 100), batch=5, demand={Phase.SELECTION: 5, Phase.ESTIMATION: 5})
    *probe, selection, estimation = seen
    assert len(probe) == 4
    assert not torch.equal(selection, estimation)


def test_the_classifier_sees_the_grid():
    class OnGrid(nn.Module):
        def forward(self, x):
            steps = x.double() * 255
            good = (steps - steps.round()).abs().amax(dim=(1, 2, 3)) < 1e-3
            return torch.stack([~good, good], dim=1).float()

    for tally in tallies(OnGrid(), different_images(4, 77)):
        assert tally.votes(Phase.ESTIMATION).counts == {1: 53}


def test_nan_rows_are_missing_votes():
    tally = tallies(Sometimes(100), different_images(1, 100))[0]
    votes = tally.votes(Phase.ESTIMATION)
    assert 0 < votes.missing < 53
    assert votes.of(1) + votes.missing == 53


def test_votes_are_announced_in_order_of_samples():
    announced = {}

    def on_votes(tally, chunk, labels):
        assert len(labels) == chunk.count
        key = (tally.image.name, chunk.phase)
        assert announced.get(key, 0) == chunk.first
        announced[key] = chunk.first + chunk.count

    tallies(Threshold(100), different_images(5, 100), workers=3, on_votes=on_votes)
    assert announced == {(str(i), phase): count for i in range(5) for phase, count in DEMAND.items()}


def test_the_module_that_was_handed_in_stays_as_it_was():
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(9), nn.Linear(9, 2)).train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    tallies(module, different_images(3, 50), dtype="bf16")
    assert module.training
    assert all(part.training for part in module.modules())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_every_part_is_in_eval_mode():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Sequential(nn.Dropout(0.9))

        def forward(self, x):
            assert not self.training
            assert not self.inside.training
            assert not torch.is_grad_enabled()
            return torch.zeros(len(x), 2)

    tallies(Deep().train(), different_images(1, 1))


def test_a_classifier_that_writes_into_its_batch_harms_nobody():
    class Vandal(Threshold):
        def forward(self, x):
            answer = super().forward(x)
            x.fill_(7.0)
            return answer

    images = different_images(3, 120)
    assert results(tallies(Vandal(100), images)) == results(tallies(Threshold(100), images))


def test_torch_threads_are_as_before():
    before = torch.get_num_threads()
    tallies(Constant(), different_images(1, 1), workers=2)
    assert torch.get_num_threads() == before


def test_an_interruption_that_wakes_nobody_is_heard():
    heard = threading.Event()

    class Hanging(nn.Module):
        def forward(self, x):
            time.sleep(0.3)  # by now the main thread waits for the answer
            _thread.interrupt_main()  # marks the signal as arrived, and does not wake the main thread
            assert heard.wait(30)
            return x.flatten(1)

    def interrupted(number, frame):
        heard.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupted)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            tallies(Hanging(), different_images(1, 1))
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 20


def test_misfits_are_one_line():
    class Wrong(nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(BadModel, match=r"\(B, K\) logits, got \(16, 1, 1, 9\)"):
        tallies(Wrong(), different_images(1, 1))
    with pytest.raises(BadModel, match="do not accept images of shape"):
        tallies(nn.Conv2d(3, 4, 3), different_images(1, 1))
    with pytest.raises(BadParameter, match="batch must be a whole number"):
        tallies(Constant(), different_images(1, 1), batch=0)
    with pytest.raises(BadParameter, match="n must be a whole number of at least 1"):
        tallies(Constant(), different_images(1, 1), demand={Phase.PREDICTION: 0})


def test_memory_does_not_grow_with_n():
    import tracemalloc

    def peak(n):
        tracemalloc.start()
        tallies(Constant(), different_images(1, 1, (10, 10, 1)), batch=64, demand={Phase.PREDICTION: n})
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2_000)
    little, much = peak(2_000), peak(100_000)
    assert much < 1.5 * little
    assert 3 * little < 10 * 10 * 2 * 100_000  # the noise of all samples would not fit
