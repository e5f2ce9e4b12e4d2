"""Certificates that take longer than somebody waits for: begun now, looked at while the votes come, fetched when done."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from dsmooth.images.pixels import Pixels
from dsmooth.records.digests import digest_json
from dsmooth.serve.answers import Answer
from dsmooth.serve.desk import Desk, Request
from dsmooth.serve.refusals import Refused
from dsmooth.theory.votes import Label, Phase

__all__ = ["Job", "Jobs"]

_MOST_KEPT: Final = 1000  # of a caller, without their certificate files, which the archive has
_MOST_BYTES: Final = 256 << 20  # of pictures whose votes are under way: their clients need not be there any more
_TOP: Final = 5  # labels that an event lists
_HEARTBEAT: Final = 15.0
_PAUSE: Final = 0.1  # seconds between two events: votes come by the block, people read slower


class Job:
    """One picture that is being certified, and what is known of it so far."""

    def __init__(self, request: Request, once: str | None) -> None:
        self.id, self.once, self._served = secrets.token_hex(16), once, request.served
        self.long = request.job
        """Whether nobody waits for it."""
        self.size = len(request.picture) if isinstance(request.picture, bytes) else request.picture.nbytes
        self.commitment: str | None = None
        self.answer: Answer | None = None
        self.refusal: Refused | None = None
        self.task: asyncio.Task[None] | None = None
        self._asked = {Phase.SELECTION: request.question.n0, Phase.ESTIMATION: request.question.n}
        self._counts: dict[Phase, Counter[Label | None]] = {phase: Counter() for phase in self._asked}
        self._changed = asyncio.Event()

    @property
    def state(self) -> str:
        """waiting, voting, done or failed."""
        if self.answer is not None:
            return "done"
        if self.refusal is not None:
            return "failed"
        return "waiting" if self.commitment is None else "voting"

    async def run(self, desk: Desk, request: Request) -> None:
        """The answer is there, or why there is none."""
        loop = asyncio.get_running_loop()

        def heard(phase: Phase, labels: Sequence[Label | None], fresh: bool) -> None:
            with suppress(RuntimeError):  # the loop is closed, and the session's thread goes on
                loop.call_soon_threadsafe(self._count, phase, labels, fresh)

        try:
            answer = await desk.ask(request, on_begun=self._begun, on_labels=heard)
            self.answer = replace(answer, document=b"")
        except Refused as refusal:
            self.refusal = refusal
            if self.long:  # of others whoever waits hears
                desk.metrics.refused(refusal.reason)
        except asyncio.CancelledError:
            self.refusal = Refused("closed", "the job was cancelled")
            raise
        except Exception:
            self.refusal = Refused("failed", "the server failed; see its log")
            raise
        finally:
            self._changed.set()

    async def answered(self) -> Answer:
        """The answer, once it is there; raises Refused. Who stops waiting for it leaves it under way."""
        assert self.task is not None
        await asyncio.wait({self.task})
        if self.answer is None:
            assert self.refusal is not None
            raise self.refusal
        return self.answer

    def value(self) -> dict[str, Any]:
        """The state as JSON, with the votes so far, or the answer."""
        told: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "commitment": self.commitment,
            "votes": self._votes(),
        }
        if self.answer is not None:
            told["certificate"] = self.answer.value()
        if self.refusal is not None:
            told["error"] = str(self.refusal)
        return told

    async def events(self) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
        """What happens from now on: ("votes", ...) as they come, then ("done" or "failed", ...); None: nothing new yet."""
        told = None
        while self.state not in ("done", "failed"):
            if (value := self.value()) != told:
                told = value
                yield "votes", value
            self._changed.clear()
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    await self._changed.wait()
            except TimeoutError:
                yield None
            else:
                await asyncio.sleep(_PAUSE)
        yield self.state, self.value()

    def _begun(self, commitment: str) -> None:
        self.commitment = commitment
        self._changed.set()

    def _count(self, phase: Phase, labels: Sequence[Label | None], fresh: bool) -> None:
        if fresh:
            self._counts = {each: Counter() for each in self._asked}
        self._counts[phase].update(labels)
        self._changed.set()

    def _votes(self) -> dict[str, Any]:
        return {
            phase.value: {
                "asked": self._asked[phase],
                "trials": counts.total(),
                "missing": counts[None],
                "top": [
                    {"answer": label, "name": self._served.named(label), "votes": votes}
                    for label, votes in counts.most_common(_TOP + 1)
                    if label is not None
                ][:_TOP],
            }
            for phase, counts in self._counts.items()
        }


class Jobs:
    """The jobs of a server: those under way, and the last ones of each caller that ended."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._jobs: dict[str, OrderedDict[str, Job]] = {}
        """Of each caller, by id."""
        self._once: dict[tuple[str, str], tuple[Job, str]] = {}
        """Caller and the client's name for a job -> the job, and what it is about."""
        self._open: set[Job] = set()

    def begin(self, request: Request, once: str | None = None) -> Job:
        """A job is under way; raises Refused where too many are.

        once: the client's own name for it (Idempotency-Key). The same name stands for the job that has it already,
        unless that failed; Refused where that is about something else.
        """
        who = request.caller.name
        asked = digest_json([request.served.name, request.question.to_json(), request.job, _digest(request.picture)])
        if once is not None and (known := self._once.get((who, once))) is not None:
            job, about = known
            if about != asked:
                raise Refused(
                    "bad_request", "this Idempotency-Key was used for another picture or other settings: use a new one"
                )
            if job.state != "failed":
                return job
        job = Job(request, once)
        open_jobs = sum(each.long for each in self._open)
        if job.long and open_jobs >= request.served.limits.most_jobs:
            raise Refused("full", f"{open_jobs} jobs are in progress; try again later", retry_after=10.0)
        if job.size + sum(each.size for each in self._open) > _MOST_BYTES:
            raise Refused("full", "too many pictures are in progress; try again later", retry_after=10.0)
        mine = self._jobs.setdefault(who, OrderedDict())
        mine[job.id] = job
        if once is not None:
            self._once[who, once] = (job, asked)
        self._open.add(job)
        job.task = asyncio.ensure_future(job.run(self._desk, request))
        job.task.add_done_callback(lambda task: self._ended(who, job, task))
        if len(mine) > _MOST_KEPT and (
            oldest := next((each for each in mine.values() if each not in self._open), None)
        ):
            self._forget(who, oldest)
        return job

    def _ended(self, who: str, job: Job, task: asyncio.Task[None]) -> None:
        self._open.discard(job)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "a job failed", "exception": error})
        if job.state == "failed" and not job.long:  # its client was told why, and knows no id of it
            self._forget(who, job)

    def _forget(self, who: str, job: Job) -> None:
        self._jobs[who].pop(job.id, None)
        if job.once is not None and self._once.get((who, job.once), (None,))[0] is job:
            del self._once[who, job.once]

    def get(self, caller: str, name: str) -> Job:
        """The caller's job of that id; raises Refused (404), also for another caller's."""
        mine = self._jobs.get(caller)
        job = None if mine is None else mine.get(name)
        if job is None:
            raise Refused("not_found", "no job with this id is known here for this caller")
        return job

    async def finish(self, seconds: float) -> None:
        """Those under way have ended, or are cancelled after so many seconds."""
        tasks = [job.task for job in self._open if job.task is not None and not job.task.done()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _digest(picture: bytes | Pixels) -> str:
    return hashlib.sha256(picture if isinstance(picture, bytes) else picture.tobytes()).hexdigest()
