"""What every engine must keep: values in, the answers of the worker out."""

import pickle
import threading
from concurrent.futures import Future
from importlib.util import find_spec

import numpy as np
import pytest

from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import BadModel, BadParameter
from dsmooth.records.digests import digest_image
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.engines.base import Answers, Block, Engine, Part, Spread
from dsmooth.smoothing.engines.known import ENGINES, engine_named
from dsmooth.smoothing.engines.worker import Recipe, Worker
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.votes import Phase
from support import Linear

IMAGES = np.random.default_rng(0).integers(90, 165, (3, 4, 4, 3), dtype=np.uint8)


def worker():
    return Worker(Recipe(TorchClassifier(Linear()), None, Gaussian(0.25), "eager", "fp32"), 2)


def block(first=0, rows=16):
    parts = [
        Part(image, digest_image(image), Chunk(Phase.ESTIMATION, bytes([i] * 16), first, i + 2))
        for i, image in enumerate(IMAGES)
    ]
    return Block(tuple(parts), rows)


NEEDED = {"ray": (pytest.mark.slow, pytest.mark.skipif(not find_spec("ray"), reason="needs the extra ray"))}
NAMES = [pytest.param(name, marks=NEEDED.get(name, ())) for name in ENGINES if ":" not in name]


@pytest.mark.parametrize("name", NAMES)
class TestEngine:
    def test_the_same_answers_as_the_worker_itself(self, name):
        engine = engine_named(Spread(name, 2), worker())
        try:
            engine.begin()
            futures = [engine.submit(block(first)) for first in range(0, 60, 5)]
            expected = [worker().answer(block(first)) for first in range(0, 60, 5)]
            assert [list(f.result().labels) for f in futures] == [list(answers.labels) for answers in expected]
            assert not any(future.result().chance for future in futures)
            engine.rest()
        finally:
            engine.close()

    def test_what_it_gets_can_be_sent_anywhere(self, name):
        sent = pickle.loads(pickle.dumps(block()))
        assert worker().answer(sent) == worker().answer(block())
        assert sent.samples == 2 + 3 + 4
        assert sent.shape == (4, 4, 3)

    def test_errors_come_out_of_the_future(self, name):
        broken = Worker(Recipe(TorchClassifier(Linear()), lambda x, s: None, Gaussian(0.25), "eager", "fp32"), 1)
        engine = engine_named(Spread(name, 2), broken)
        try:
            with pytest.raises(BadModel, match="same shape"):
                engine.submit(block()).result()
        finally:
            engine.close()


def test_another_number_of_answers_is_refused():
    class Short(Engine):
        here, workers = True, 1

        @classmethod
        def check(cls, spread, *, billed):
            pass

        def _submit(self, block):
            future = Future()
            threading.Thread(target=lambda: future.set_result(Answers([1]))).start()
            return future

        def close(self):
            pass

    with pytest.raises(BadModel, match="expected 9 answers, got 1"):
        Short().submit(block()).result()


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(BadParameter, match=f"engine must be one of {ENGINES}"):
        engine_named(Spread("abacus"), worker())
