"""Concurrent queries, each tried until it is answered or given up; what was answered is never queried again."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import ServiceStopped
from dsmooth.records.digests import canonical_json
from dsmooth.records.querylog import Address, QueryLogWriter
from dsmooth.services.connections import Line
from dsmooth.services.gate import Gate, Limits
from dsmooth.services.pictures import png_of
from dsmooth.services.provider import Provider, QueryFailed, Reply, Terms, read_logged

__all__ = ["CANARIES", "CANARY_EVERY", "Client", "Picture", "canary_queries"]

CANARY_EVERY: Final = 200
"""Queries between two looks at whether the canaries are still answered as at the start."""

CANARIES: Final = 2
"""Images of a run, without noise, that are canaries."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_GRACE = 5.0  # seconds that an answer under way is waited for when the run is broken off
_LOOK = 0.2
_SAME_SCORE = 0.01
_MOST_KEPT = 4096  # answers, where no log holds them anyway: a server asks for ever

Picture = npt.NDArray[np.uint8]
"""(H, W, C) bytes."""


class Client:
    """A conversation with one service. Threads may ask at the same time.

    With a log, samples that it holds are answered from it, also after a crash; pictures with the same bytes are asked once
    for the same service and model version (two samples may then share an answer: for a function, that is its answer), as
    far as their answers are kept: without a log, the last few thousand.
    `canaries` are asked before the first query, after every 200, and by `finish`.
    """

    def __init__(
        self,
        provider: Provider,
        terms: Terms,
        limits: Limits,
        *,
        log: QueryLogWriter | None = None,
        canaries: Sequence[Picture] = (),
    ) -> None:
        self.provider, self.terms, self.log, self.canaries = provider, terms, log, canaries
        self.gate = Gate(provider.name, limits, sent=log.held.tries if log else 0)
        self._limits = limits
        self._couriers = ThreadPoolExecutor(limits.concurrency, "dsmooth-query")
        self._lock = threading.Lock()  # over version, cache, and what is under way
        self._seen_version = log is not None and log.held.answered > 0
        self.version = log.held.version if log else None
        entries = log.held.entries.values() if log else ()
        self._raw_of = {entry.picture: entry.raw for entry in entries if entry.picture and entry.raw}
        self._under_way: dict[Address, Future[Reply | None]] = {}
        self._canary_lock = threading.Lock()
        self._canary_replies: dict[int, Reply] = {}
        for number, raw in (log.held.canaries if log else {}).items():
            self._canary_replies[number] = self._logged(raw)
        self._since_canaries: int | None = None  # queries; None: not looked at yet

    def ask(self, pictures: Sequence[tuple[Address | None, Picture | None]]) -> list[Reply | None]:
        """The reply to each picture, or None where none came or (no picture) none can be asked for.

        Raises ServiceStopped when no further query may be sent; what was answered until then is in the log.
        """
        known = self.log.held.entries if self.log else {}
        self._look_at_canaries(sum(at not in known for at, _ in pictures))
        futures = [self._submit(at, picture) for at, picture in pictures]
        wait(futures)  # not only for the first that fails: the others' answers are paid for
        return [future.result() for future in futures]

    def finish(self) -> None:
        """The canaries have been asked once more after the last query."""
        if self._since_canaries:
            self._look_at_canaries(CANARY_EVERY + 1)

    def close(self, why: str) -> None:
        """Nothing more is sent; answers under way are waited for, for some seconds, and logged."""
        self.gate.close(why)
        self._couriers.shutdown(wait=True)  # a cancelled future would leave its waiters waiting; the gate ends them all

    def _submit(self, at: Address | None, picture: Picture | None) -> Future[Reply | None]:
        """The answer to come. Copies of an image share their noise, hence their addresses, hence their answers."""
        if at is None:
            return self._couriers.submit(self._one, at, picture)
        with self._lock:
            answer = self._under_way.get(at)
            if answer is None:
                answer = self._under_way[at] = self._couriers.submit(self._one, at, picture)
                answer.add_done_callback(lambda _: self._under_way.pop(at))
            return answer

    def _one(self, at: Address | None, picture: Picture | None) -> Reply | None:
        held = self.log.held.entries.get(at) if self.log and at is not None else None
        if held is not None:
            return None if held.raw is None else self._logged(held.raw)
        if picture is None:
            self._missing(at, None, "the denoised image was not finite")
            return None
        png = png_of(picture, self.terms.least_side, self.terms.most_bytes)
        name = hashlib.sha256(png).hexdigest()
        with self._lock:
            known = self._raw_of.get(name)
        if known is not None:
            raw, reply = json.loads(known), self._logged(known)
        else:
            try:
                raw, reply = self._answer(at, png)
            except QueryFailed as error:
                self._missing(at, name, self._clean(error))
                return None
            self._check_version(reply, raw)
            with self._lock:
                self._raw_of[name] = canonical_json(raw)
                if self.log is None and len(self._raw_of) > _MOST_KEPT:
                    del self._raw_of[next(iter(self._raw_of))]
        if self.log and at is not None:
            self.log.answer(at, name, reply.version, raw)
        return reply

    def _logged(self, raw: str) -> Reply:
        return read_logged(partial(self.provider.read, wire=self.provider.wire), raw)

    def _missing(self, at: Address | None, picture: str | None, why: str) -> None:
        if self.log and at is not None:
            self.log.missing(at, picture, why)

    def _answer(self, at: Address | None, png: bytes) -> tuple[Any, Reply]:
        """The raw answer and what it says, after as many tries as it takes; raises QueryFailed when it is given up."""
        tried = 0
        while True:
            self.gate.enter()
            if self.log:
                self.log.sent(at)
            try:
                answer = self._within_time(png)
                try:
                    raw = self._redacted(answer)
                    canonical_json(raw).encode()  # what cannot be written down is no answer
                    reply = self.provider.read(raw, self.provider.wire)
                except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                    raise QueryFailed(f"an answer that cannot be read ({error!r})") from error
            except QueryFailed as error:
                tried += 1
                self.gate.failed(self._clean(error), error.wait, fatal=error.fatal)
                self.gate.check()  # what is broken off is not given up: it will be asked again
                if not error.retry or tried == self._limits.tries:
                    raise
                longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (tried - 1))
                self.gate.pause(random.uniform(0.5, 1.0) * longest)
            else:
                self.gate.answered()
                return raw, reply

    def _within_time(self, png: bytes) -> Any:
        """The answer, if it is whole within the time limit.

        A thread of its own for each try: the SDKs' limits hold between two bytes, so a body that drips in would never end.
        Nothing is left open of a try that took too long.
        """
        answer: Future[Any] = Future()
        line = Line()

        def ask() -> None:
            try:
                with line:
                    answer.set_result(self.provider.ask(png))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=ask, name="dsmooth-try", daemon=True).start()
        end = time.monotonic() + self._limits.time_limit
        while not answer.done():
            if self.gate.closed:
                end = min(end, time.monotonic() + _GRACE)
                wait([answer], timeout=max(0.0, end - time.monotonic()))
                break
            if time.monotonic() >= end:
                break
            wait([answer], timeout=min(_LOOK, max(0.0, end - time.monotonic())))
        if not answer.done():
            line.hang_up()
            raise QueryFailed(f"no answer within {self._limits.time_limit:g} s")
        try:
            return answer.result()
        except QueryFailed:
            raise
        except Exception as error:  # whatever a strange answer does to an SDK is a failed try
            raise QueryFailed(f"{type(error).__name__}: {error}") from error

    def _check_version(self, reply: Reply, raw: Any) -> None:
        with self._lock:
            if not self._seen_version:
                self._seen_version, self.version = True, reply.version
            if reply.version == self.version:
                return
        self._drifted(f"its version changed from {self.version} to {reply.version}", raw)

    def _drifted(self, what: str, raw: Any) -> None:
        if self.log:
            self.log.drift(what, raw)
        why = f"{self.provider.name} is no longer the model of this run: {what}; its votes cannot be used, start a new run"
        self.gate.close(why)
        raise ServiceStopped(why)

    def _look_at_canaries(self, coming: int) -> None:
        """Asks the canaries where they are due before `coming` more queries."""
        with self._canary_lock:
            if coming == 0 or not self.canaries:
                return
            if self._since_canaries is not None and self._since_canaries + coming <= CANARY_EVERY:
                self._since_canaries += coming
                return
            for number, picture in enumerate(self.canaries):
                png = png_of(picture, self.terms.least_side, self.terms.most_bytes)
                try:
                    raw, reply = self._couriers.submit(self._answer, None, png).result()
                except QueryFailed as error:
                    why = f"{self.provider.name} did not answer a canary: {self._clean(error)}; continue later with --resume"
                    self.gate.close(why)
                    raise ServiceStopped(why) from error
                self._check_version(reply, raw)
                first = self._canary_replies.setdefault(number, reply)
                if not _alike(first, reply):
                    self._drifted(f"canary {number} was {_top(first)} and is now {_top(reply)}", raw)
                if self.log:
                    self.log.canary(number, reply.version, raw)
            self._since_canaries = coming

    def _clean(self, error: Exception) -> str:
        """What went wrong, in one short line without secrets."""
        return " ".join(self._without_secrets(str(error)).split())[:200]

    def _redacted(self, raw: Any) -> Any:
        """The answer, without secrets that a server sends back."""
        if isinstance(raw, dict):
            return {self._redacted(name): self._redacted(value) for name, value in raw.items()}
        if isinstance(raw, list):
            return [self._redacted(value) for value in raw]
        return self._without_secrets(raw) if isinstance(raw, str) else raw

    def _without_secrets(self, text: str) -> str:
        for secret in self.provider.secrets:
            text = text.replace(secret, "(secret)")
        return text


def canary_queries(queries: int, images: int) -> int:
    """How many queries the canaries take beside so many others for so many images, about."""
    return min(CANARIES, images) * (2 + queries // CANARY_EVERY) if queries else 0


def _alike(one: Reply, other: Reply) -> bool:
    """The same top label with the same score, as far as replicas of one model agree."""
    if not one.tags or not other.tags:
        return one.tags == other.tags
    (name, score), (other_name, other_score) = one.tags[0], other.tags[0]
    return name == other_name and abs(score - other_score) <= _SAME_SCORE


def _top(reply: Reply) -> str:
    return f"{reply.tags[0][0]} ({reply.tags[0][1]:.3f})" if reply.tags else "empty"
