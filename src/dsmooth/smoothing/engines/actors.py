"""The processes of a Ray cluster: one thread and one copy of the networks each, here or on other machines.

Blocks are handed out in calls of a few seconds of work, two calls to a process. A vote is a pure function of its address
and of the networks, so what a lost process had is asked of another, and nothing is lost, doubled or different.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

from dsmooth.backends.eager import cores
from dsmooth.backends.versions import versions
from dsmooth.errors import BadModel, BadParameter, Drifted, DsmoothError, SessionClosed, last_line
from dsmooth.smoothing.engines.base import Answers, Block, Engine, Spread
from dsmooth.smoothing.engines.cluster import address_of, connected, imported
from dsmooth.smoothing.engines.jobs import Job, Jobs
from dsmooth.smoothing.engines.judging import Judge, Seen
from dsmooth.smoothing.engines.object_store import ObjectStore
from dsmooth.smoothing.engines.remote import Facts, RemoteWorker
from dsmooth.smoothing.engines.worker import Worker

__all__ = ["RayEngine"]

_SECONDS: Final = 2.0  # of work in a call
_MOST: Final = 256  # blocks in a call
_FASTER: Final = 8  # a call is at most so many times as large as the one before
_CALLS: Final = 2  # under way to each process: one is worked on, one waits there
_WAKE: Final = 1.0  # seconds between looks at the clock
_GROWTH: Final = 5.0  # seconds between looks at the size of the cluster
_EARLY: Final = 8  # processes that may end one after the other before any answers


@dataclass(eq=False)
class _Actor:
    """A process."""

    handle: Any
    number: int
    node: str = ""
    pid: int = 0
    most: int = 1
    """Blocks of a call that takes the time that it should."""
    calls: list[list[Job]] = field(default_factory=list)
    alike: set[tuple[int, ...]] = field(default_factory=set)
    """Shapes of batches of which it answered a probe as this process did."""
    on_trial: bool = False
    """It has a probe, and gets nothing until that is judged."""
    gone: bool = False

    @property
    def free(self) -> bool:
        return not self.on_trial and len(self.calls) < _CALLS

    def __str__(self) -> str:
        where = f" ({self.node}, process {self.pid})" if self.pid else ""
        return f"worker {self.number}{where}"


class RayEngine(Engine):
    """As many processes as were asked for, or as the cluster has room for, which may change at any time.

    One that computes with other versions or another kind of processor, draws other noise, or answers a probe unlike this
    process, gets no block. One that ends is replaced. Random blocks are asked of a second process before they count, and
    where the two differ everything stops (Drifted).
    """

    here: ClassVar[bool] = False

    @classmethod
    def check(cls, spread: Spread, *, billed: bool) -> None:
        if billed:
            raise BadParameter("a service is queried by one machine, within one budget: leave out engine ray")
        if spread.gpus is not None and not 0.0 < spread.gpus <= 1.0:
            raise BadParameter(f"gpus must be above 0 and at most 1 (the part of one GPU), got {spread.gpus:g}")
        imported(address_of(spread.engine))

    def __init__(self, worker: Worker, spread: Spread) -> None:
        device = worker.pipeline.backend.device.type
        if spread.gpus is not None and device != "cuda":
            raise BadParameter(
                f"backend {worker.pipeline.backend.name} runs on a CPU: leave out gpus, or choose backend cuda"
            )
        self._spread = spread
        self._gpus = 0.0 if device != "cuda" else spread.gpus or 1.0
        self._cluster = connected(address_of(spread.engine))
        self._ray = self._cluster.ray
        try:
            self._recipe = self._ray.put(worker.recipe)
        except Exception as error:  # whatever a stranger's object raises when it is pickled
            raise BadModel(f"these networks cannot be sent to other processes: {last_line(error)[:300]}") from error
        alone = self._cluster.own or self._gpus  # how many there are is decided here, or by the GPUs
        options = {"num_cpus": 0 if alone else 1, "num_gpus": self._gpus}
        self._kind = self._ray.remote(max_restarts=0, max_task_retries=0, **options)(RemoteWorker)
        self._versions = self._told(versions())
        self._hear: Callable[[str], None] | None = None
        self._unsaid: deque[str] = deque()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._open: set[Job] = set()
        self._jobs, self._judge, self._store = Jobs(), Judge(worker), ObjectStore(self._ray)
        self._actors: list[_Actor] = []
        self._ready: list[_Actor] = []
        self._numbers = self._refused = self._early = 0
        self._said = -1  # how many workers were there when it was said last
        self._wanted, self._looked, self._changed = 0, -math.inf, math.inf
        self._failed: DsmoothError | None = None
        self._closing = self._ended = False
        self._lock = threading.Lock()
        self.workers, self._depth = 1, _CALLS
        self._look()
        self._thread = threading.Thread(target=self._run, name="dsmooth-actors", daemon=True)
        self._thread.start()

    # --- called from any thread ---------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        return self._depth

    def listen(self, hear: Callable[[str], None]) -> None:
        self._hear = hear

    def _submit(self, block: Block) -> Future[Answers]:
        job = Job(block)
        job.answers.add_done_callback(lambda _: self._open.discard(job))
        with self._lock:
            if self._ended:
                job.answers.set_exception(self._failed or SessionClosed("the engine was closed"))
            else:
                self._open.add(job)
                self._inbox.put(lambda: self._jobs.add(job))
        return job.answers

    def close(self) -> None:
        self._inbox.put(self._stop)
        self._thread.join()

    # --- called by the engine's thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                with suppress(queue.Empty):
                    self._inbox.get(timeout=_WAKE)()
                    while True:  # what came meanwhile is handed out together
                        self._inbox.get_nowait()()
                self._look()
                self._hand_out()
        except BaseException as error:
            self._fail(
                BadModel(
                    f"the connection to the Ray cluster was lost ({last_line(error)[:300]}): continue with --resume"
                )
            )
        finally:
            with self._lock:
                self._ended = True
            for job in list(self._open):
                job.settle(self._failed or SessionClosed("the engine was closed"))
            for actor in self._actors:
                with suppress(Exception):  # the cluster may be gone
                    self._ray.kill(actor.handle)

    def _stop(self) -> None:
        self._closing = True

    def _look(self) -> None:
        """As many processes are there, or on their way, as there is room for; what became of them is said."""
        now = time.monotonic()
        if now - self._looked > _GROWTH:
            self._looked, self._wanted = now, self._room()
        while len(self._actors) < self._wanted - self._refused:
            self._numbers += 1
            actor = _Actor(self._kind.remote(self._recipe), self._numbers)
            self._actors.append(actor)
            self._hear_of(actor.handle.facts.remote(), partial(self._met, actor))
        if not self._ready:
            self.workers, self._depth = max(1, self._wanted), _CALLS * max(1, self._wanted)
        if self._hear is None:
            return
        settled = len(self._ready) == len(self._actors) or now - self._changed > _WAKE
        if settled and self._said != len(self._ready):
            self._said = len(self._ready)
            machines = len({actor.node for actor in self._ready})
            waits = "" if self._wanted else ": the cluster has room for none, and this waits until it has"
            self._say(f"{_count(self._said, 'worker')} on {_count(machines, 'machine')}{waits}")

    def _room(self) -> int:
        if self._spread.workers is not None:
            return self._spread.workers
        return cores() if self._cluster.own and not self._gpus else self._cluster.room(gpus=self._gpus)

    def _hear_of(self, promised: Any, call: Callable[[Future[Any]], None]) -> None:
        """This call is made by the engine's thread when that is there."""
        promised.future().add_done_callback(lambda done: self._inbox.put(partial(call, done)))

    def _met(self, actor: _Actor, done: Future[Facts]) -> None:
        """A process has loaded the networks, or could not."""
        if actor.gone:
            return
        if (error := done.exception()) is not None:
            if getattr(error, "actor_init_failed", False):  # it raised something, and would again
                self._refuse(actor, f"cannot load the networks: {last_line(error)[:300]}")
            else:
                self._early += 1
                self._lose(actor, error)
            return
        facts = done.result()
        actor.node, actor.pid, self._early = facts.node, facts.pid, 0
        told = self._told(facts.versions)
        if told != self._versions:
            names = sorted(name for name in told | self._versions if told.get(name) != self._versions.get(name))
            unlike = ", ".join(f"{name} {told.get(name)} and not {self._versions.get(name)}" for name in names)
            self._refuse(actor, f"has {unlike}")
            return
        self._ready.append(actor)
        self._measure()

    def _told(self, found: dict[str, str]) -> dict[str, str]:
        """Of the versions, those that decide what is computed: a GPU does only where one is used."""
        return {name: value for name, value in found.items() if name != "gpu" or self._gpus}

    def _hand_out(self) -> None:
        while self._jobs:
            free = sorted((each for each in self._ready if each.free), key=lambda each: len(each.calls))
            if not any(self._give(actor) for actor in free):
                return

    def _give(self, actor: _Actor) -> bool:
        """A process gets what it can do in the time of a call, or a fair part where little waits; whether it got anything.

        So calls become small towards the end, and no process is left with a long one while others have nothing to do.
        """
        fair = -(-len(self._jobs) // (_CALLS * len(self._ready)))
        jobs = self._jobs.share(actor, min(actor.most, fair), alone=len(self._ready) == 1)
        unknown = next((job for job in jobs if job.shape not in actor.alike), None)
        if unknown is not None:
            self._jobs.give_back(actor, jobs, lost=False)
            self._try(actor, unknown)
        elif jobs:
            actor.calls.append(jobs)
            call = self._store.call(actor.handle.ask, [job.block for job in jobs])
            self._hear_of(call, partial(self._came, actor, jobs))
        return bool(jobs)

    def _try(self, actor: _Actor, job: Job) -> None:
        """A process is asked what it makes of rows that are no votes, before it gets blocks of this shape."""
        try:
            blocks = self._judge.probe(job.shape, job.block)
        except Exception as error:  # the networks do not fit, or the memory does not suffice
            job.settle(error)
            return
        actor.on_trial = True
        self._hear_of(self._store.call(actor.handle.probe, blocks), partial(self._judged, actor, job.shape))

    def _judged(self, actor: _Actor, shape: tuple[int, ...], done: Future[list[Seen]]) -> None:
        """What a process made of a probe came."""
        if actor.gone:
            return
        actor.on_trial = False
        if (error := done.exception()) is not None:
            self._lose(actor, error)
        elif (unlike := self._judge.difference(shape, done.result())) is not None:
            self._refuse(actor, f"{unlike} than this machine")
        else:
            actor.alike.add(shape)

    def _came(self, actor: _Actor, jobs: list[Job], done: Future[tuple[list[Answers | Exception], float]]) -> None:
        if actor.gone or self._closing:
            return
        if (error := done.exception()) is not None:
            self._lose(actor, error)
            return
        self._early = 0
        actor.calls.remove(jobs)
        answers, seconds = done.result()
        fitting = int(_SECONDS / max(seconds / len(jobs), 1e-9))
        actor.most = max(1, min(fitting, _FASTER * max(actor.most, len(jobs)), _MOST))
        self._measure()
        try:
            for job, given in zip(jobs, answers, strict=True):
                self._jobs.take(actor, job, given)
        except Drifted as drifted:
            self._fail(drifted)

    def _lose(self, actor: _Actor, error: BaseException) -> None:
        """A process ended: what it had is asked of others, and another takes its place."""
        self._say(f"{actor} ended ({type(error).__name__}): its work goes to others")
        self._dismiss(actor, lost=True)
        if self._early >= _EARLY:
            self._fail(
                BadModel(
                    f"{_EARLY} workers ended while they loaded the networks, the last one with: {last_line(error)[:300]}"
                )
            )
        self._look()

    def _refuse(self, actor: _Actor, why: str) -> None:
        """A process would be another function: it gets nothing more, and what it has goes to others."""
        self._say(f"{actor} is refused: it {why}")
        self._refused += 1
        self._dismiss(actor, lost=False)
        if not self._actors:
            self._fail(BadModel(f"no worker is left: the last one, {actor}, {why}"))

    def _dismiss(self, actor: _Actor, *, lost: bool) -> None:
        actor.gone = True
        self._actors.remove(actor)
        if actor in self._ready:
            self._ready.remove(actor)
        self._ray.kill(actor.handle)
        self._jobs.give_back(actor, [job for jobs in actor.calls for job in jobs], lost=lost)
        self._measure()

    def _measure(self) -> None:
        """How many blocks may come, now that a process came, went or was timed."""
        self._changed = time.monotonic()
        if self._ready:
            self.workers, self._depth = len(self._ready), sum((_CALLS + 1) * actor.most for actor in self._ready)

    def _fail(self, error: DsmoothError) -> None:
        """Nothing more is answered."""
        self._failed, self._closing = self._failed or error, True

    def _say(self, line: str) -> None:
        """What was said before anybody listened is told then."""
        self._unsaid.append(line)
        while self._hear is not None and self._unsaid:
            self._hear(self._unsaid.popleft())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
