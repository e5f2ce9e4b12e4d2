"""A session: images come in from any thread at any time, and their votes come out as they finish."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from dsmooth.errors import BadParameter, DsmoothError, SessionClosed
from dsmooth.images.sets import LabelledImage
from dsmooth.records.digests import digest_image
from dsmooth.records.question import Question, Role
from dsmooth.smoothing.batch_size import BatchSizes
from dsmooth.smoothing.canaries import Canaries
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.cover_tally import unasked
from dsmooth.smoothing.dispatcher import (
    Dispatcher,
    Entry,
    Event,
    Failed,
    Feed,
    Finished,
    Restarted,
    Voted,
)
from dsmooth.smoothing.engines.base import Engine
from dsmooth.smoothing.scheduler import USUAL, Scheduler, Urgency
from dsmooth.smoothing.tally import Recall, Tally, checked_demand
from dsmooth.theory.votes import Label, Phase

__all__ = ["Handle", "OnNotice", "OnRestart", "OnVotes", "Session", "log_notice", "no_restart", "no_votes"]

_NAP: Final = 0.5
"""Seconds between looks for an interrupt: a blocked thread misses one that came just before it blocked."""

_REST: Final = 10.0
"""Seconds that a run which is broken off waits for what is under way: answers of services are paid for."""

OnVotes = Callable[[Tally, Chunk, Sequence[Label | None]], None]
"""Called with the answers that count, in order of samples within each image and phase."""

OnRestart = Callable[[str, int], None]
"""Called where memory ran out: the image that starts again, by key, and the new number of rows of a batch."""


OnNotice = Callable[[str], None]
"""Called with a line about what happened to the workers: they came, ended, were refused."""

log_notice: Final[OnNotice] = logging.getLogger("dsmooth").warning


def no_votes(tally: Tally, chunk: Chunk, labels: Sequence[Label | None]) -> None:
    """Nobody listens."""


def no_restart(key: str, batch_size: int) -> None:
    """Nobody listens."""


class Handle:
    """The future result of a submitted image."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._future: Future[Tally] = Future()
        self._cancel = cancel

    def result(self, timeout: float | None = None) -> Tally:
        """Waits for all its votes; raises what went wrong, or TimeoutError after `timeout` seconds."""
        return self._future.result(timeout)

    @property
    def done(self) -> bool:
        """Whether `result` returns or raises at once."""
        return self._future.done()

    def on_done(self, call: Callable[[], None]) -> None:
        """`call` is made once `result` returns or raises at once: by the session's thread, or here where it does already."""
        self._future.add_done_callback(lambda _: call())

    def cancel(self) -> None:
        """Cancels the image; blocks in progress are still finished."""
        self._cancel()


_running: weakref.WeakKeyDictionary[threading.Thread, Dispatcher] = weakref.WeakKeyDictionary()
_native_ids: set[int] = set()  # of the threads of all loops, ended ones too
_TASKS: Final = Path("/proc/self/task")  # the native threads of this process, on Linux
_AT_EXIT: Final = 2.0  # seconds that the end of the program waits for loops; a service that hangs would hold it longer
_UNSEEN: Final = 0.25  # seconds, where native threads cannot be seen; on Linux they take a tenth of that


def _end_all() -> None:
    """Threads have ended when the process does.

    Python's join returns before the native thread ends, which lets go of what it compiled with OpenVINO last (12 to 23 ms
    later); a process that ends meanwhile is aborted.
    """
    end = time.monotonic() + _AT_EXIT
    for thread, loop in list(_running.items()):
        loop.stop()
        if thread.is_alive():
            thread.join(max(0.0, end - time.monotonic()))
    if not _TASKS.is_dir():
        time.sleep(_UNSEEN)
    while any((_TASKS / str(native)).exists() for native in _native_ids) and time.monotonic() < end:
        time.sleep(0.001)


class Session:
    """One base classifier, loaded, probed and warmed once, shared by any number of threads.

    `about` is a question of its own: every question must have the same noise, networks and preparation. Images of one shape
    share batches, whose composition changes no vote. It ends with `close`, or when nobody holds it any more.
    """

    def __init__(self, engine: Engine, about: Question, *, sizes: BatchSizes, ahead: bool, canaries: bool) -> None:
        self.sizes = sizes
        self._about = about.to_json(Role.SUBJECT)
        loop = Dispatcher(engine, sizes, Scheduler(ahead=ahead), Canaries(kept=canaries))
        self._loop, self._started, self._lock = loop, False, threading.Lock()
        self._thread = threading.Thread(target=loop.run, name="dsmooth-session", daemon=True)
        self._stop = weakref.finalize(self, loop.stop)  # waits for nothing: any thread may run it, a worker's too

    def submit(
        self,
        image: LabelledImage,
        question: Question,
        *,
        key: MasterKey | None = None,
        urgency: Urgency = USUAL,
        on_votes: OnVotes = no_votes,
    ) -> Handle:
        """Submits an image; returns at once. `key` determines the noise: by default a new random one.

        `on_votes` is called by the session's thread, and must be quick.
        """
        entry = self._entry(image, question, key or MasterKey.draw(), urgency)
        handle = Handle(lambda: self._post(lambda: self._loop.cancel(entry)))

        def tell(entry: Entry, event: Event) -> None:
            if isinstance(event, Voted):
                on_votes(cast(Tally, event.tally), event.chunk, event.labels)
            elif isinstance(event, Finished):
                handle._future.set_result(cast(Tally, event.tally))
            elif isinstance(event, Failed):
                handle._future.set_exception(event.error)

        entry.tell, entry.request = tell, handle
        self._post(lambda: self._loop.submit(entry))
        return handle

    def drain(
        self,
        images: Iterable[LabelledImage],
        question: Question,
        key: MasterKey,
        *,
        on_votes: OnVotes = no_votes,
        on_restart: OnRestart = no_restart,
        on_notice: OnNotice = log_notice,
    ) -> Iterator[Tally]:
        """The votes of a stream of images of any length, each as soon as it is finished; images are read as there is room.

        Everything is read and called by the thread that iterates. Leaving the iteration cancels what is open.
        """
        entries = (self._entry(image, question, key, USUAL) for image in images)
        with closing(self._events(entries, on_notice)) as events:
            for entry, event in events:
                if isinstance(event, Voted):
                    on_votes(cast(Tally, event.tally), event.chunk, event.labels)
                elif isinstance(event, Restarted):
                    on_restart(entry.image.name, event.batch_size)
                elif isinstance(event, Finished):
                    yield cast(Tally, event.tally)

    def replay(
        self,
        image: LabelledImage,
        streams: Mapping[Phase, bytes],
        samples: Sequence[tuple[Phase, int]],
        on_chance: Callable[[bool], None] = lambda chance: None,
    ) -> Iterator[Label | None]:
        """The answers to these samples of recorded streams, in their order, as they come.

        `on_chance` is told whether the same rows are answered differently.
        """
        digest = digest_image(image.pixels)
        entry = Entry(image, lambda rows: Recall(image, digest, streams, samples, rows), _unheard, None)
        with closing(self._events(iter([entry] if samples else []))) as events:
            for _, event in events:
                if isinstance(event, Restarted):
                    raise BadParameter(
                        "these batches do not fit into memory here, and votes from smaller ones may differ by rounding"
                    )
                if isinstance(event, Voted):
                    yield from event.labels
                elif isinstance(event, Finished):
                    on_chance(event.tally.nondeterministic)

    @property
    def failed(self) -> BaseException | None:
        """Why nothing more is answered: the classifier changed its answers, or the session ended; None where it is open."""
        return self._loop.failed

    @property
    def workers(self) -> int:
        """Blocks that can currently be processed in parallel."""
        return self._loop.engine.workers

    @property
    def fill_ratio(self) -> float:
        """The share of batch rows so far that were requested, not padding; 1 before the first."""
        return self._loop.samples / self._loop.rows if self._loop.rows else 1.0

    def close(self) -> None:
        """Open images fail (SessionClosed), and nothing more is accepted; what is under way was waited for."""
        self._stop()
        with self._lock:
            unused, self._started = not self._started, True
        if unused:
            self._loop.run()  # which ends at once, and closes the engine
        elif self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _entry(self, image: LabelledImage, question: Question, key: MasterKey, urgency: Urgency) -> Entry:
        asked = question.to_json(Role.SUBJECT)
        if asked != self._about:
            other = next(name for name, value in asked.items() if value != self._about[name])
            raise BadParameter(
                f"this session answers questions about {other} {self._about[other]}, got one about {asked[other]}"
            )
        digest = digest_image(image.pixels)
        demand, streams = checked_demand(question.demand), key.streams(question, digest)
        return Entry(image, unasked(image, digest, demand, streams), _unheard, None, urgency)

    def _post(self, call: Callable[[], None]) -> None:
        with self._lock:
            if not self._started:
                atexit.unregister(_end_all)  # once, and before what was registered earlier
                atexit.register(_end_all)
                _running[self._thread] = self._loop
                self._thread.start()
                _native_ids.add(cast(int, self._thread.native_id))
                self._started = True
        self._loop.post(call)

    def _events(self, entries: Iterator[Entry], on_notice: OnNotice = log_notice) -> Generator[tuple[Entry, Event]]:
        """What happens to these images, told to the thread that iterates; raises what goes wrong with one of them.

        At the end the canaries have been asked once more.
        """
        heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        feed = Feed(
            want=lambda: heard.put(_WANT),
            checked=lambda error: heard.put(_Checked(error)),
            notice=lambda line: heard.put(_Notice(line)),
        )
        open_entries: set[Entry] = set()
        exhausted = False
        self._post(lambda: self._loop.open_feed(feed))
        try:
            while open_entries or not exhausted:
                told = _next(heard)
                if told is _WANT:
                    entry = next(entries, None)
                    if entry is None:
                        exhausted = True
                    else:
                        entry.request, entry.tell = feed, lambda entry, event: heard.put((entry, event))
                        open_entries.add(entry)
                    self._post(partial(self._loop.hand_in, feed, entry))
                    continue
                if isinstance(told, _Notice):
                    on_notice(told.line)
                    continue
                if isinstance(told, _Checked):  # the loop has ended
                    raise told.error or SessionClosed("the session was closed")
                entry, event = told
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Finished):
                    open_entries.discard(entry)
                yield entry, event
            self._post(partial(self._loop.close_feed, feed))
            while not isinstance(told := _next(heard), _Checked):
                pass
            if told.error is not None:
                raise told.error
        except BaseException:
            with suppress(DsmoothError):  # the loop may have ended
                self._post(partial(self._loop.leave, feed, list(open_entries)))
                _wait_for_rest(heard)
            raise


def _wait_for_rest(heard: queue.SimpleQueue[Any]) -> None:
    """What was under way when a run was broken off is answered, or ten seconds have passed."""
    end = time.monotonic() + _REST
    while (left := end - time.monotonic()) > 0:
        with suppress(queue.Empty):
            if isinstance(heard.get(timeout=min(_NAP, left)), _Checked):
                return


def _unheard(entry: Entry, event: Event) -> None:
    """Nobody listens yet."""


def _next(heard: queue.SimpleQueue[Any]) -> Any:
    while True:
        try:
            return heard.get(timeout=_NAP)
        except queue.Empty:
            continue


_WANT: Final = object()


@dataclass(frozen=True, slots=True)
class _Notice:
    """What happened to the workers."""

    line: str


@dataclass(frozen=True, slots=True)
class _Checked:
    """The canaries were asked at the end, or the session ended."""

    error: BaseException | None
