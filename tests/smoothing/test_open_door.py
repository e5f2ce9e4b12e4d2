"""The session as a server uses it: many threads, images that do not exist yet, cancellation, deadlines, fairness."""

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth import BadModel, BadParameter, SmoothedClassifier
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import Expired, SessionClosed
from dsmooth.images.sets import LabelledImage
from dsmooth.smoothing.batch_size import BatchSizes
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.engines.threads import ThreadEngine
from dsmooth.smoothing.engines.worker import Recipe, Worker
from dsmooth.smoothing.scheduler import Scheduler, Urgency
from dsmooth.smoothing.session import Session
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.uniform import Uniform
from dsmooth.theory.votes import Phase
from support import Constant, Linear, different_images, question, session

NOISE = Gaussian(0.5)
ASKED = question(NOISE, n0=7, n=53)


class Gate(Linear):
    """Linear, which waits until it is let go on."""

    def __init__(self):
        super().__init__()
        self.held = [threading.Event(), threading.Event()]  # a list: no part of what is certified

    @property
    def reached(self):
        return self.held[0]

    @property
    def open(self):
        return self.held[1]

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        self.held[0].set()
        assert self.held[1].wait(60)
        return super().forward(x)


def named(count, shape=(3, 5, 3)):
    pixels = np.random.default_rng(0).integers(108, 148, (count, *shape)).astype(np.uint8)
    return [LabelledImage(str(i), image) for i, image in enumerate(pixels)]


def counted(tally):
    return tally.votes(Phase.SELECTION), tally.votes(Phase.ESTIMATION)


def test_many_threads_get_the_answers_that_they_would_get_alone():
    images, key = named(24), MasterKey.draw(1)
    with session(Linear(), ASKED, batch=16, workers=2) as opened:
        expected = [counted(tally) for tally in opened.drain(images, ASKED, key)]
    found = {}
    with session(Linear(), ASKED, batch=64, workers=3) as opened:

        def ask(start):
            handles = {i: opened.submit(images[i], ASKED, key=key) for i in range(start, 24, 6)}
            found.update({i: counted(handle.result(60)) for i, handle in handles.items()})

        threads = [threading.Thread(target=ask, args=(start,)) for start in range(6)]
        for thread in threads:
            thread.start()
        drained = [counted(tally) for tally in opened.drain(images, ASKED, key)]  # beside them
        for thread in threads:
            thread.join()
    assert [found[i] for i in range(24)] == expected == drained


def test_an_image_is_asked_about_before_the_next_one_exists():
    answered = threading.Event()

    class Telling(Linear):
        def forward(self, x):
            answered.set()
            return super().forward(x)

    def images():
        first, second = named(2)
        yield first
        assert answered.wait(30), "nothing was asked while the second image was waited for"
        yield second

    with session(Telling(), ASKED, batch=1000) as opened:
        assert len(list(opened.drain(images(), ASKED, MasterKey.draw(1)))) == 2


def test_a_key_is_drawn_for_each_image_that_brings_none():
    with session(Linear(), ASKED) as opened:
        handles = [opened.submit(named(1)[0], ASKED) for _ in range(4)]
        streams = [handle.result(60).streams[Phase.ESTIMATION] for handle in handles]
    assert len(set(streams)) == 4


def test_votes_are_announced_as_they_come():
    heard = []
    with session(Linear(), ASKED, batch=10) as opened:
        handle = opened.submit(
            named(1)[0],
            ASKED,
            on_votes=lambda tally, chunk, labels: heard.append((chunk.phase, chunk.first, len(labels))),
        )
        handle.result(60)
    assert sum(count for phase, _, count in heard if phase is Phase.ESTIMATION) == 53
    assert len(heard) > 4


def test_what_is_cancelled_is_given_up_and_the_others_are_answered():
    module = Gate()
    with session(module, ASKED, batch=4) as opened:
        first, second = (opened.submit(image, ASKED) for image in named(2))
        assert module.reached.wait(30)
        first.cancel()
        with pytest.raises(SessionClosed, match="cancelled"):
            first.result(30)
        module.open.set()
        assert second.result(60).done
        first.cancel()  # again: nothing happens


def test_a_deadline_that_passes_gives_no_certificate_of_fewer_votes():
    module = Gate()
    with session(module, ASKED, batch=4) as opened:
        started = time.monotonic()
        late = opened.submit(named(1)[0], ASKED, urgency=Urgency(deadline=started + 0.3))
        with pytest.raises(Expired, match="before the deadline"):
            late.result(30)
        assert 0.25 < time.monotonic() - started < 20
        module.open.set()
        assert opened.submit(named(1)[0], ASKED, urgency=Urgency(deadline=time.monotonic() + 60)).result(60).done


def scheduled(*entries, batch=10):
    """The order in which blocks go to these requests: (name, votes wanted, urgency)."""
    scheduler, names = Scheduler(ahead=True), {}
    for name, votes, urgency in entries:
        tally = Tally(
            LabelledImage(name, np.zeros((1, 1, 1), np.uint8)),
            name,
            {Phase.PREDICTION: votes},
            {Phase.PREDICTION: b""},
            batch,
        )
        names[id(tally)] = name
        scheduler.add(tally, request=name.split(" ")[0], urgency=urgency)
    order = []
    while rows := scheduler.next():
        order.append([(names[id(tally)], chunk.count) for tally, chunk in rows])
    return order


def test_blocks_go_to_the_requests_in_turn():
    usual = Urgency()
    order = scheduled(("a 1", 30, usual), ("a 2", 30, usual), ("b", 30, usual))
    assert (
        order
        == [[("a 1", 10)], [("b", 10)], [("a 1", 10)], [("b", 10)], [("a 1", 10)], [("b", 10)]] + [[("a 2", 10)]] * 3
    )


def test_rows_that_one_request_leaves_empty_go_to_the_next():
    usual = Urgency()
    assert scheduled(("a", 4, usual), ("b", 9, usual)) == [[("a", 4), ("b", 6)], [("b", 3)]]


def test_the_nearest_deadline_is_first_among_equals_and_higher_priority_before_all():
    order = scheduled(
        ("late", 10, Urgency(deadline=9.0)),
        ("soon", 20, Urgency(deadline=3.0)),
        ("urgent", 20, Urgency(priority=1, deadline=99.0)),
    )
    assert [rows[0][0] for rows in order] == ["urgent", "urgent", "soon", "late", "soon"]


def test_other_shapes_wait_for_a_block_of_their_own():
    scheduler = Scheduler(ahead=True)
    for name, side in (("a", 1), ("b", 2), ("c", 1)):
        image = LabelledImage(name, np.zeros((side, side, 1), np.uint8))
        scheduler.add(Tally(image, name, {Phase.PREDICTION: 4}, {Phase.PREDICTION: b""}, 10), request=name)
    blocks = [[tally.digest for tally, _ in scheduler.next()] for _ in range(3)]
    assert blocks == [["a", "c"], ["b"], []]


def test_a_warm_session_classifies_what_is_asked_and_the_padding():
    rows = []

    class Counting(Linear):
        def forward(self, x):
            rows.append(len(x))
            return super().forward(x)

    with SmoothedClassifier(Counting(), None, 0.25, workers=1) as smoothed:
        image = np.full((32, 32, 3), 140, np.uint8)
        smoothed.predict(image, n=100)
        first = sum(rows)
        rows.clear()
        smoothed.predict(image, n=100)
        assert sum(rows) == 100
        rows.clear()
        smoothed.predict(image, n=120)
        assert sum(rows) == 150  # three batches of 50, the last one padded
        assert first > 100  # the first one was probed
        rows.clear()
        assert smoothed.submit(image).result(60).done
        assert sum(rows) == 1100


def test_networks_that_do_not_fit_one_image_leave_the_others_alone():
    class Square(nn.Module):
        def forward(self, x):
            assert x.shape[2] == x.shape[3], "not a square"
            return torch.zeros(len(x), 2)

    good, bad = (
        LabelledImage("good", np.zeros((4, 4, 3), np.uint8)),
        LabelledImage("bad", np.zeros((4, 5, 3), np.uint8)),
    )
    with session(Square(), ASKED) as opened:
        handles = [opened.submit(image, ASKED) for image in (bad, good, bad, good)]
        for handle in handles[::2]:
            with pytest.raises(BadModel, match="not a square"):
                handle.result(60)
        for handle in handles[1::2]:
            assert handle.result(60).done


def test_a_question_about_something_else_is_refused():
    with session(Linear(), ASKED) as opened:
        for other in (
            question(Uniform(127)),
            question(NOISE, classifier="another"),
            question(NOISE, denoiser="another"),
        ):
            with pytest.raises(BadParameter, match="this session answers questions about"):
                opened.submit(named(1)[0], other)
        assert opened.submit(named(1)[0], question(NOISE, n=5, alpha=0.01, norm=1.0)).result(60).done


def test_what_is_open_when_the_session_ends_fails():
    module = Gate()
    with session(module, ASKED, batch=4) as opened:
        handle = opened.submit(named(1)[0], ASKED)
        assert module.reached.wait(30)
        threading.Timer(0.2, module.open.set).start()
        opened.close()
        with pytest.raises(SessionClosed):
            handle.result(30)
        with pytest.raises(SessionClosed):
            opened.submit(named(1)[0], ASKED)
        with pytest.raises(SessionClosed):
            list(opened.drain(named(1), ASKED, MasterKey.draw(1)))


def test_a_run_whose_canaries_are_asked_when_the_session_ends_fails():
    module, asked = Gate(), question(NOISE, n0=7, n=300)
    module.open.set()
    with session(module, asked, batch=1) as opened:
        run = opened.drain(named(1), asked, MasterKey.draw(1))
        next(run)
        module.reached.clear()
        module.open.clear()

        def end():
            assert module.reached.wait(30)
            threading.Timer(0.5, module.open.set).start()
            opened.close()

        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(SessionClosed):
            next(run)
        ending.join()


def test_a_session_that_was_never_asked_anything_closes_its_engine():
    closed = []

    class Closing(ThreadEngine):
        def close(self):
            closed.append(True)
            super().close()

    engine = Closing(Worker(Recipe(TorchClassifier(Linear()), None, NOISE, "eager", "fp32"), 1))
    opened = Session(engine, ASKED, sizes=BatchSizes(size=4, area=1, most=4), ahead=True, canaries=True)
    opened.close()
    opened.close()
    assert closed == [True]
    with pytest.raises(SessionClosed):
        opened.submit(named(1)[0], ASKED)


def test_a_session_that_nobody_holds_any_more_ends_its_threads():
    before = set(threading.enumerate())

    def started() -> set[threading.Thread]:
        return {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("dsmooth")}

    smoothed = SmoothedClassifier(Constant(), None, 0.25, workers=2)
    smoothed.predict(different_images(1, 0)[0])
    assert started()
    del smoothed
    gc.collect()
    deadline = time.monotonic() + 20
    while started() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not started()


def test_leaving_a_run_stops_it():
    module = Gate()
    module.open.set()
    with session(module, ASKED, batch=4) as opened:
        run = opened.drain(named(50), ASKED, MasterKey.draw(1))
        next(run)
        run.close()
        assert opened.submit(named(1)[0], ASKED).result(60).done


def test_an_error_of_whoever_listens_ends_the_run_and_nothing_else():
    def angry(tally, chunk: Chunk, labels):
        raise RuntimeError("the disk is full")

    with session(Linear(), ASKED) as opened:
        with pytest.raises(RuntimeError, match="disk is full"):
            list(opened.drain(named(3), ASKED, MasterKey.draw(1), on_votes=angry))
        assert len(list(opened.drain(named(3), ASKED, MasterKey.draw(1)))) == 3


def test_an_error_in_the_stream_of_images_ends_the_run():
    def images():
        yield named(1)[0]
        raise BadParameter("no more")

    with session(Linear(), ASKED) as opened, pytest.raises(BadParameter, match="no more"):
        list(opened.drain(images(), ASKED, MasterKey.draw(1)))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="native threads are seen in /proc")
def test_native_threads_have_ended_when_the_program_does():
    """Python's join returns before they do; those that still let go of compiled networks then made the process abort."""
    pytest.importorskip("openvino", reason="only what OpenVINO compiles takes long to let go of")
    code = (
        "import atexit, os, threading, numpy as np, torch; from dsmooth import SmoothedClassifier\n"
        "class Small(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        sizes = [3, *[256] * 12]\n"
        "        layers = [torch.nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sizes, sizes[1:])]\n"
        "        self.convolutions = torch.nn.Sequential(*layers)\n"
        "    def forward(self, x): return self.convolutions(x).mean((2, 3))\n"
        "ids = []\n"
        "atexit.register(lambda: print([os.path.exists(f'/proc/self/task/{i}') for i in ids]))\n"
        "smoothed = SmoothedClassifier(Small(), None, 0.25, workers=2, backend='openvino', dtype='bf16')\n"
        "smoothed.certify(np.full((8, 8, 3), 100, np.uint8), n0=50, n=200)\n"
        "ids += [thread.native_id for thread in threading.enumerate() if thread.name.startswith('dsmooth')]\n"
        "assert ids; del smoothed\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "False" in done.stdout
    assert "True" not in done.stdout
