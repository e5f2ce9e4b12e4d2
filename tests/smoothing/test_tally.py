"""Modes through the scheduler: what is counted follows from the key alone, and little is drawn in vain."""

import hashlib

import pytest

from dsmooth.errors import BadParameter
from dsmooth.images.sets import LabelledImage
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import Mode
from dsmooth.theory.votes import Phase, StoppedVotes
from support import Constant, Sometimes, Threshold, different_images, put_to_the_vote, question

NOISE, N0 = Gaussian(0.25), 20
VALUES = (40, 95, 101, 104, 110, 120, 135, 150, 180, 220)  # true radii from far below 0 to nearly .5
MODES = [Mode("curve", (0.0, 0.1, 0.3)), Mode("decision", (0.1,)), Mode("radius")]


def tallies(mode, *, n=2000, batch=64, workers=1, ahead=True, module=None, on_votes=None, values=VALUES, key=None):
    images = [
        LabelledImage(f"{value} {i}", image)
        for value in values
        for i, image in enumerate(different_images(3, value, (1, 3, 1)))
    ]
    asked = question(NOISE, n0=N0, n=n, alpha=0.01, mode=mode)
    options = {"batch": batch, "workers": workers, "ahead": ahead, "on_votes": on_votes}
    return list(put_to_the_vote(module or Threshold(100), images, asked, key or MasterKey.draw(1), **options))


def counted(found):
    return {tally.image.name: (tally.votes(Phase.SELECTION), tally.estimation) for tally in found}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_what_counts_does_not_depend_on_batch_workers_or_what_was_asked_ahead(mode):
    expected = counted(tallies(mode))
    assert len(expected) == 3 * len(VALUES)
    trials = {(e.last if isinstance(e, StoppedVotes) else e).trials for _, e in expected.values()}
    assert len(trials) > 4
    for batch, workers, ahead in ((9, 2, True), (37, 1, False), (2048, 3, True)):
        assert counted(tallies(mode, batch=batch, workers=workers, ahead=ahead)) == expected


class SameStreams(MasterKey):
    """A key that ignores the question: the votes of two modes can be compared."""

    def stream(self, question, image, phase):
        return hashlib.blake2b(f"{image} {phase}".encode(), digest_size=16).digest()


def test_the_same_votes_as_in_mode_fixed_from_the_same_streams():
    key = SameStreams(bytes(32), "seed")
    looked = {tally.image.name: tally for tally in tallies(MODES[0], key=key)}
    for tally in looked.values():
        trials = tally.estimation.last.trials
        if trials:
            fixed = tallies(Mode(), n=trials, values=(int(tally.image.name.split()[0]),), key=key)
            same = next(other for other in fixed if other.image.name == tally.image.name)
            assert same.estimation == tally.estimation.last


def test_votes_that_count_are_announced_in_order():
    announced = {}

    def on_votes(tally, chunk, labels):
        assert len(labels) == chunk.count > 0
        key = (tally.image.name, chunk.phase)
        assert announced.get(key, 0) == chunk.first
        announced[key] = chunk.first + chunk.count

    found = tallies(MODES[0], batch=500, workers=2, on_votes=on_votes)
    assert {key: count for (key, phase), count in announced.items() if phase is Phase.ESTIMATION} == {
        tally.image.name: tally.estimation.last.trials for tally in found if tally.estimation.last.trials
    }


def test_little_is_drawn_in_vain():
    batch, workers = 50, 2
    found = tallies(MODES[0], n=10_000, batch=batch, workers=workers)
    wasted = [tally.drawn - N0 - tally.estimation.last.trials for tally in found]
    assert min(wasted) == 0
    assert max(wasted) <= batch * (workers + 1)
    assert sum(wasted) < 0.05 * sum(tally.drawn for tally in found)
    assert all(tally.drawn == N0 + tally.estimation.last.trials for tally in tallies(MODES[0], n=10_000, ahead=False))


def test_batches_are_full_while_images_wait_outside():
    asked = []

    class Counting(Threshold):
        def forward(self, x):
            asked.append(len(x))
            return super().forward(x)

    found = tallies(MODES[0], n=10_000, batch=64, module=Counting(100))
    rows, needed = sum(asked[4:]), sum(tally.drawn for tally in found)  # the probe asks four times
    assert rows < 1.02 * needed


def test_no_more_images_are_open_than_rows_are_in_flight():
    opened = finished = most = 0
    batch, workers = 16, 2

    def images():
        nonlocal opened
        for i, image in enumerate(different_images(400, 104, (1, 3, 1))):
            opened += 1
            yield LabelledImage(str(i), image)

    asked = question(NOISE, n0=5, n=1000, alpha=0.01, mode=MODES[1])
    for _ in put_to_the_vote(Threshold(100), images(), asked, MasterKey.draw(1), batch=batch, workers=workers):
        finished += 1
        most = max(most, opened - finished)
    assert finished == 400
    assert most <= batch * (workers + 1) + 1


def test_memory_does_not_grow_with_n():
    import tracemalloc

    def peak(n):
        tracemalloc.start()
        tallies(Mode("decision", (0.099,)), n=n, values=(125,))  # near the border: many looks
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1_000)
    assert peak(20_000) < 1.5 * peak(1_000)


def test_an_image_that_nobody_answers_is_given_up_after_the_selection():
    for mode in MODES:
        for tally in tallies(mode, module=Sometimes(5000)):
            assert tally.drawn == N0
            assert tally.votes(Phase.SELECTION).missing == N0


def test_votes_that_were_looked_at_are_no_votes_of_a_fixed_number():
    tally = tallies(MODES[0])[0]
    with pytest.raises(BadParameter, match="seen by a stopping rule"):
        tally.votes(Phase.ESTIMATION)
    with pytest.raises(BadParameter, match="only that rule can certify"):
        Cohen().certify(tally.votes(Phase.SELECTION), tally.estimation, NOISE, alpha=0.01, dim=3)
    sized = tallies(MODES[2])[0]
    assert sized.votes(Phase.ESTIMATION) == sized.estimation


def test_a_bound_without_looks_is_refused_as_a_stopping_rule():
    def refused(demand, says):
        with pytest.raises(BadParameter, match=says):
            list(put_to_the_vote(Constant(), different_images(1, 0), question(NOISE, demand), MasterKey.draw(1)))

    for certifier in (Cohen(), Multiclass()):
        demand = {Phase.SELECTION: 5, Phase.ESTIMATION: certifier}
        refused(demand, "offers no look: its bound is for a number of votes fixed in advance")
    rule = MODES[0].plan(Cohen(), NOISE, n=10, alpha=0.01).demand
    refused({Phase.ESTIMATION: rule}, "n0 must be a whole number")
