"""Whatever becomes of the processes that have them, blocks come out answered once, and never by two who differ."""

import random
from collections import deque

import numpy as np
import pytest

from dsmooth.errors import BadModel, Drifted
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.engines import jobs as jobs_module
from dsmooth.smoothing.engines.base import Answers, Block, Part
from dsmooth.smoothing.engines.jobs import Job, Jobs
from dsmooth.theory.votes import Phase

PIXELS = np.zeros((2, 2, 3), np.uint8)


def job(first=0):
    return Job(Block((Part(PIXELS, "image", Chunk(Phase.ESTIMATION, bytes(16), first, 3)),), 4))


def truth(asked):
    first = asked.block.parts[0].chunk.first
    return Answers([first, first + 1, None])


def lie(asked):
    return Answers([first + 7 for first in (truth(asked).labels[:2])] + [None])


class Everywhere:
    """Up to five processes that come, answer, hand back and end in an order of chance, as an engine would have it."""

    def __init__(self, seed):
        self.chance, self.jobs = random.Random(seed), Jobs()
        self.all = [job(3 * i) for i in range(120)]
        self.fresh = deque(self.all)
        self.calls = {}
        """What each process has: calls of jobs, in order."""
        self.names = iter(range(10_000))

    def step(self, answer):
        what = self.chance.random()
        ready = list(self.calls)
        if self.fresh and what < 0.2:
            self.jobs.add(self.fresh.popleft())
        elif len(ready) < 5 and (not ready or what < 0.25):
            self.calls[f"process {next(self.names)}"] = []
        elif ready and what < 0.3:
            process = self.chance.choice(ready)
            had = [each for call in self.calls.pop(process) for each in call]
            self.jobs.give_back(process, had, lost=self.chance.random() < 0.2)
        elif ready and what < 0.65:
            process = self.chance.choice(ready)
            if len(self.calls[process]) < 2:
                taken = self.jobs.share(process, self.chance.randint(1, 6), alone=len(ready) == 1)
                assert len({*taken}) == len(taken)
                assert not any(each in call for call in self.calls[process] for each in taken)  # asked once of each
                if taken:
                    self.calls[process].append(taken)
        elif ready:
            process = self.chance.choice(ready)
            if self.calls[process]:
                for each in self.calls[process].pop(0):
                    self.jobs.take(process, each, answer(process, each))

    @property
    def done(self):
        return all(each.answers.done() for each in self.all)


@pytest.mark.parametrize("again", [1, 3, 64])
def test_every_block_is_answered_once_and_by_as_many_as_it_needs(monkeypatch, again):
    monkeypatch.setattr(jobs_module, "_AGAIN", again)
    for seed in range(5):
        world = Everywhere(seed)
        for _ in range(100_000):
            if world.done:
                break
            world.step(lambda process, asked: truth(asked))
        assert world.done
        for each in world.all:
            if each.lost < 8:
                assert each.answers.result().labels == truth(each).labels
            else:
                with pytest.raises(BadModel, match="8 workers ended over one batch of 4"):
                    each.answers.result()
            assert len({process for process, _ in each.given}) == len(each.given)
            assert each.lost >= 8 or len(each.given) >= each.opinions


def test_where_every_block_is_asked_twice_a_liar_is_noticed_before_anything_of_it_counts(monkeypatch):
    monkeypatch.setattr(jobs_module, "_AGAIN", 1)

    def go_on(world):
        for _ in range(100_000):
            for process in ("liar", "other"):  # they do not stay away, so neither is ever alone
                world.calls.setdefault(process, [])
            world.step(lambda process, asked: lie(asked) if process == "liar" else truth(asked))

    for seed in range(10):
        world = Everywhere(seed)
        with pytest.raises(Drifted, match="answers 2 of 3 images differently than"):
            go_on(world)
        for each in world.all:
            if each.answers.done() and each.answers.exception() is None:
                assert each.answers.result().labels == truth(each).labels


def test_the_answers_of_a_classifier_with_dice_are_not_compared(monkeypatch):
    monkeypatch.setattr(jobs_module, "_AGAIN", 1)
    jobs, asked = Jobs(), job()
    jobs.add(asked)
    for process in "ab":
        assert jobs.share(process, 1, alone=False) == [asked]
    jobs.take("a", asked, Answers([0, 1, 2]))
    assert not asked.answers.done()
    jobs.take("b", asked, Answers([5, 1, 2], chance=True))
    assert asked.answers.result().labels == [5, 1, 2]


def test_nobody_waits_for_a_second_opinion_that_nobody_can_give(monkeypatch):
    monkeypatch.setattr(jobs_module, "_AGAIN", 1)
    jobs, asked = Jobs(), job()
    jobs.add(asked)
    assert jobs.share("a", 1, alone=False) == [asked]
    assert jobs.share("a", 1, alone=False) == []
    jobs.take("a", asked, truth(asked))
    assert not asked.answers.done()
    assert jobs.share("a", 1, alone=True) == []
    assert asked.answers.result().labels == truth(asked).labels


def test_what_is_handed_back_comes_first_and_errors_come_out():
    jobs, several = Jobs(), [job(i) for i in range(5)]
    for each in several:
        jobs.add(each)
    taken = jobs.share("a", 3, alone=True)
    assert taken == several[:3]
    jobs.give_back("a", taken, lost=False)
    assert jobs.share("a", 5, alone=True) == several
    jobs.take("a", several[0], MemoryError("too many rows"))
    with pytest.raises(MemoryError):
        several[0].answers.result()
