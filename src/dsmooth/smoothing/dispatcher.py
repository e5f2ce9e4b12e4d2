"""The loop of a session: images come in, blocks go to the engine, answers are counted, events go out. One thread runs it.

Answers are taken in the order in which their blocks were submitted, so what goes into a block follows from answers
before it, and not from timing, as long as images are at hand when there is room for them.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dsmooth.errors import BadModel, Drifted, DsmoothError, Expired, SessionClosed
from dsmooth.images.sets import LabelledImage
from dsmooth.smoothing.batch_size import BatchSizes
from dsmooth.smoothing.canaries import Canaries
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.engines.base import Answers, Block, Engine, Part
from dsmooth.smoothing.scheduler import USUAL, Choice, Scheduler, Urgency
from dsmooth.smoothing.tally import AnyTally
from dsmooth.theory.votes import Label

__all__ = ["Dispatcher", "Entry", "Failed", "Feed", "Finished", "Restarted", "Voted"]

_log: Callable[[str], None] = logging.getLogger("dsmooth").warning
_GRACE = 0.05  # seconds that an idle engine waits for an image that is about to come, before it works on a padded batch


@dataclass(frozen=True, slots=True)
class Voted:
    """Answers that count came, in order of samples within each phase."""

    tally: AnyTally
    chunk: Chunk
    labels: Sequence[Label | None]


@dataclass(frozen=True, slots=True)
class Restarted:
    """Memory ran out: the image starts again, with the same noise, in batches of so many rows."""

    batch_size: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The image has all its votes."""

    tally: AnyTally


@dataclass(frozen=True, slots=True)
class Failed:
    """The image will not be finished."""

    error: BaseException


Event = Voted | Restarted | Finished | Failed

After = Callable[[BaseException | None], None]
"""Called with what went wrong, or None."""


@dataclass(eq=False)
class Entry:
    """An image that was handed in."""

    image: LabelledImage
    fresh: Callable[[int], AnyTally]
    """Its votes before the first one, for batches of so many rows."""
    tell: Callable[[Entry, Event], None]
    """Called by the loop's thread with everything that happens to the image: it must be quick, and not raise."""
    request: Hashable
    urgency: Urgency = USUAL
    tally: AnyTally | None = None
    """Its votes so far."""


@dataclass(eq=False)
class Feed:
    """A run that hands in its images when there is room for them."""

    want: Callable[[], None]
    """Called by the loop's thread when there is room; the answer is `Dispatcher.hand_in` or `exhausted`."""
    checked: After
    """Called by the loop's thread when the canaries have been asked at the end."""
    notice: Callable[[str], None] = _log
    """Called by the loop's thread with a line about what happened to the workers."""
    waiting: bool = False
    """An image was asked for, and has not come yet."""
    exhausted: bool = False


@dataclass(eq=False)
class _UnderWay:
    """A block that was submitted."""

    block: Block
    choice: Choice
    """Whose samples these are; empty for a canary."""
    answers: Future[Answers]
    after: list[After] = field(default_factory=list)
    """What to do when it is answered."""


@dataclass(eq=False)
class Dispatcher:
    """One engine, the images that are being put to the vote on it, and the blocks under way."""

    engine: Engine
    sizes: BatchSizes
    scheduler: Scheduler
    canaries: Canaries
    samples: int = 0
    """Asked for so far."""
    rows: int = 0
    """Of their batches: the others pad."""
    failed: BaseException | None = None
    """Why nothing more is accepted: the classifier is no longer the one that was asked before."""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _inbox: deque[Callable[[], None]] = field(default_factory=deque)
    _stopping: bool = False
    _ended: bool = False
    _entries: dict[AnyTally, Entry] = field(default_factory=dict)
    _feeds: list[Feed] = field(default_factory=list)
    _under_way: deque[_UnderWay] = field(default_factory=deque)
    _untold: deque[str] = field(default_factory=deque)
    _working: bool = False
    _idle_since: float | None = None

    # --- called from any thread ---------------------------------------------------------------------------------------

    def post(self, call: Callable[[], None]) -> None:
        """The loop's thread will make this call; raises SessionClosed, or what ended the loop, where it has ended."""
        with self._changed:
            if self._ended:
                raise self.failed or SessionClosed("the session is closed")
            self._inbox.append(call)
            self._changed.notify()

    def _wake(self) -> None:
        """Something was answered."""
        with self._changed:
            self._changed.notify()

    def _hear(self, line: str) -> None:
        """Something happened to the workers."""
        with suppress(DsmoothError):  # the loop may have ended
            self.post(lambda: self._untold.append(line))

    def stop(self) -> None:
        """The loop ends: open images fail, blocks under way are waited for."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    # --- called by the loop's thread ----------------------------------------------------------------------------------

    def run(self) -> None:
        """The loop, until `stop`."""
        self.engine.listen(self._hear)
        try:
            while True:
                with self._changed:
                    if not (self._inbox or self._stopping or self._answered):
                        self._changed.wait(self._patience())
                    if self._stopping:
                        break
                    calls = [self._inbox.popleft() for _ in range(len(self._inbox))]
                for call in calls:
                    call()
                self._tell()
                self._expire()
                while self._answered:
                    self._take(self._under_way.popleft())
                self._submit_blocks()
                self._rest_if_idle()
        except BaseException as error:
            self.failed = error
            raise
        finally:
            self.failed = self.failed or SessionClosed("the session was closed before the answer came")
            with self._changed:
                self._ended = True
            for call in self._inbox:  # images that were just handed in hear of it
                call()
            self._fail_all(self.failed)
            for left in self._under_way:
                for after in left.after:
                    after(self.failed)
            self.engine.interrupt()
            self.engine.close()
            self.engine.rest()

    def submit(self, entry: Entry) -> None:
        """This image is put to the vote."""
        self._begin()
        self._add(entry)

    def cancel(self, entry: Entry) -> None:
        """Nobody wants this image's answer any more; blocks under way are not waited for."""
        if entry.tally in self._entries:
            self._fail(entry, SessionClosed("cancelled"))
        if not self._entries and self._under_way:
            self.engine.interrupt()

    def leave(self, feed: Feed, entries: Iterable[Entry]) -> None:
        """A run is broken off: its images are cancelled; `feed.checked` is called when what was under way is answered."""
        if feed in self._feeds:
            self._feeds.remove(feed)
        for entry in entries:
            self.cancel(entry)
        if self._under_way:
            self._under_way[-1].after.append(feed.checked)
        else:
            feed.checked(None)

    def open_feed(self, feed: Feed) -> None:
        """A run begins."""
        self._begin()
        self._feeds.append(feed)

    def hand_in(self, feed: Feed, entry: Entry | None) -> None:
        """The image that a feed was asked for, or None: there are no more."""
        feed.waiting, feed.exhausted = False, entry is None
        if entry is not None:
            self._add(entry)

    def close_feed(self, feed: Feed) -> None:
        """A run ends; where it was long, the canaries are asked once more before `feed.checked` is called."""
        if feed in self._feeds:
            self._feeds.remove(feed)
        blocks = self.canaries.blocks() if self.canaries.worth_asking else []
        for block in blocks:
            self._submit(block, [])
        if blocks:
            self._under_way[-1].after.append(feed.checked)
        else:
            feed.checked(self.failed)

    def _tell(self) -> None:
        """What happened to the workers is told to those who wait for them."""
        hearers = [feed.notice for feed in self._feeds] or ([_log] if self._entries else [])
        while hearers and self._untold:
            line = self._untold.popleft()
            for hear in hearers:
                hear(line)

    @property
    def _answered(self) -> bool:
        return bool(self._under_way) and self._under_way[0].answers.done()

    def _patience(self) -> float | None:
        """Seconds until something is due that nobody will announce; None: nothing is."""
        due = [entry.urgency.deadline for entry in self._entries.values() if math.isfinite(entry.urgency.deadline)]
        if self._idle_since is not None:
            due.append(self._idle_since + _GRACE)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _submit_blocks(self) -> None:
        while (under_way := len(self._under_way)) < self.engine.depth:
            if self.scheduler.has_room and (self._waits_for_images() or under_way > self.engine.workers):
                return
            choice = self.scheduler.next()
            if not choice:
                return
            parts = tuple(Part(*tally.shown(chunk), chunk) for tally, chunk in choice)
            block = Block(parts, choice[0][0].batch_size)
            self.samples, self.rows = self.samples + block.samples, self.rows + block.rows
            self._submit(block, choice)
            if self.canaries.asked():
                for block in self.canaries.blocks():
                    self._submit(block, [])

    def _waits_for_images(self) -> bool:
        """Whether to wait for images that were asked for, rather than pad a batch: not for long where a worker is idle."""
        open_feeds = [feed for feed in self._feeds if not feed.exhausted]
        for feed in open_feeds:
            if not feed.waiting:
                feed.waiting = True
                feed.want()
        if not open_feeds:
            self._idle_since = None  # or the loop would go round and round for an image that nobody brings
            return False
        if len(self._under_way) >= self.engine.workers:
            return True
        if self._idle_since is None:
            self._idle_since = time.monotonic()
        if time.monotonic() - self._idle_since < _GRACE:
            return True
        self._idle_since = None
        return False

    def _submit(self, block: Block, choice: Choice) -> None:
        self._idle_since = None
        answers = self.engine.submit(block)
        self._under_way.append(_UnderWay(block, choice, answers))
        answers.add_done_callback(lambda _: self._wake())

    def _take(self, done: _UnderWay) -> None:
        """The answers to a block came, or an error did."""
        error = done.answers.exception()
        if isinstance(error, Drifted):
            self._drifted(error)
        elif not done.choice:
            self._take_canary(done, error)
        elif isinstance(error, MemoryError):
            self._start_again(done.block, error)
        elif error is not None:
            for entry in [self._entries[tally] for tally, _ in done.choice if tally in self._entries]:
                self._fail(entry, error)
        else:
            self.canaries.keep(done.block, done.answers.result())
            self._count(done.choice, done.answers.result())
        for call in done.after:
            call(self.failed or error)

    def _count(self, choice: Choice, answers: Answers) -> None:
        row = 0
        for tally, chunk in choice:
            labels = answers.labels[row : row + chunk.count]
            row += chunk.count
            entry = self._entries.get(tally)
            if entry is None:  # finished by an earlier look, started again, or cancelled
                continue
            tally.nondeterministic |= answers.chance
            if counted := tally.receive(chunk, labels):
                entry.tell(entry, Voted(tally, replace(chunk, count=len(counted)), counted))
            if tally.done:
                self._close(tally)
                entry.tell(entry, Finished(tally))

    def _take_canary(self, done: _UnderWay, error: BaseException | None) -> None:
        if error is None:
            try:
                self.canaries.check(done.block, done.answers.result())
            except Drifted as drifted:
                self._drifted(drifted)

    def _drifted(self, error: Drifted) -> None:
        """It is no longer one function: nothing more is accepted."""
        self.failed = error
        self._fail_all(error)

    def _start_again(self, block: Block, error: BaseException) -> None:
        """Memory ran out: images of this shape start again in batches of half the size, with the same noise.

        Their votes so far were of another batch shape, and count for nothing.
        """
        if block.rows <= self.sizes.rows(block.shape):
            try:
                self.sizes.halve(block.shape, block.rows)
            except BadModel as impossible:
                impossible.__cause__ = error
                for entry in self._of_shape(block.shape):
                    self._fail(entry, impossible)
                return
        self.canaries.forget(block.shape)
        rows = self.sizes.rows(block.shape)
        for entry in self._of_shape(block.shape):
            if entry.tally is not None and entry.tally.batch_size > rows:
                self._close(entry.tally)
                self._open(entry)
                entry.tell(entry, Restarted(rows))

    def _of_shape(self, shape: tuple[int, ...]) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.image.pixels.shape == shape]

    def _add(self, entry: Entry) -> None:
        if self.failed is not None:
            entry.tell(entry, Failed(self.failed))
        else:
            self._open(entry)

    def _open(self, entry: Entry) -> None:
        entry.tally = entry.fresh(self.sizes.rows(entry.image.pixels.shape))
        self._entries[entry.tally] = entry
        self.scheduler.add(entry.tally, request=entry.request, urgency=entry.urgency)

    def _close(self, tally: AnyTally) -> None:
        del self._entries[tally]
        self.scheduler.remove(tally)

    def _fail(self, entry: Entry, error: BaseException) -> None:
        if entry.tally in self._entries:
            self._close(entry.tally)
            entry.tell(entry, Failed(error))

    def _fail_all(self, error: BaseException) -> None:
        for entry in list(self._entries.values()):
            self._fail(entry, error)
        for feed in self._feeds:
            feed.checked(error)

    def _expire(self) -> None:
        now = time.monotonic()
        for entry in [entry for entry in self._entries.values() if entry.urgency.deadline <= now]:
            self._fail(entry, Expired(f"{entry.image.name}: not all votes came before the deadline"))

    def _begin(self) -> None:
        """Somebody asks for work; what was interrupted before may go on only now."""
        self._working = True
        self.engine.begin()

    def _rest_if_idle(self) -> None:
        if self._working and not (self._entries or self._under_way or self._feeds):
            self._working = False
            self.engine.rest()
