"""Who may wait: samples that are queued, how fast they are worked off, and when that is too slow for one more request."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from dsmooth.serve.refusals import Refused

__all__ = ["Place", "Queue"]

_MARGIN = 0.8  # of the deadline may be planned: rates vary
_MEMORY = 30.0  # busy seconds after which a measurement counts for 1/e


class Queue:
    """The samples that requests wait for, and the measured rate.

    Requests get their blocks in turn, so each has one part in as many as wait, also where others come when some are done.
    One more is let in where it, and everyone who waits already, would still be done well within the deadline (`deadline`
    seconds where a request has none of its own) as one of so many. `rate`: samples a second, as far as is known at first;
    `usual`: samples of the request that the operator has in mind.

    Where nobody is let in nothing is measured, and a machine that was busy or asleep would shut the door for ever. So after
    half a minute without a vote one request is let in whatever the rate was, where it is a usual one or the first rate was
    enough for it; until then it is told to come again.
    """

    def __init__(
        self,
        *,
        most_requests: int,
        deadline: float,
        rate: float,
        usual: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.deadline, self._most, self._clock = deadline, most_requests, clock
        self._lock = threading.Lock()  # votes are counted by the session's thread
        self._places: set[Place] = set()
        self._first, self._usual = rate, usual
        self._samples, self._seconds = rate, 1.0
        self._last = clock()

    @property
    def rate(self) -> float:
        """Samples a second, over the last busy half minute or so."""
        return self._samples / self._seconds

    @property
    def requests(self) -> int:
        """How many wait."""
        return len(self._places)

    @property
    def samples(self) -> int:
        """How many samples are still to come, at most."""
        with self._lock:
            return sum(place.left for place in self._places)

    def enter(self, samples: int, deadline: float | None = None) -> Place:
        """A place for a request of so many samples at most, with a deadline of its own where one is given.

        Raises Refused: full (503) where too many requests wait, overloaded (429) where it could not be done in time.
        """
        within = self.deadline if deadline is None else deadline
        with self._lock:
            if len(self._places) >= self._most:
                raise Refused("full", f"{self._most} requests are already waiting; try again later", retry_after=within)
            now, planned = self._clock(), _MARGIN * within
            usual = samples <= self._usual and within >= self.deadline
            possible = usual or samples <= planned * self._first
            place = Place(self, samples, now + within)
            if possible and not self._places and now - self._last > _MEMORY:
                self._samples, self._seconds = self.rate, 1.0  # what is measured now counts
            else:
                self._check(place, now, planned, possible)
            if not self._places:
                self._last = now
            self._places.add(place)
            return place

    def _check(self, place: Place, now: float, planned: float, possible: bool) -> None:
        """Raises Refused where this request, or one that waits, would not be done in time."""
        if not possible and place.left / self.rate > planned:
            raise Refused(
                "bad_request",
                f"expected a request that takes at most {planned:g} s, got {place.left:,} votes at {self.rate:.0f} a "
                "second: request fewer (n0, n), or submit a job",
            )
        each = (1 + len(self._places)) / self.rate  # seconds of a vote
        late = max(one.left * each - _MARGIN * (one.end - now) for one in (*self._places, place))
        if late > 0.0:
            queued = sum(one.left for one in self._places)
            late = min(late, self.deadline)  # by then all who wait now are done, or given up
            raise Refused(
                "overloaded",
                f"{queued:,} votes are queued at {self.rate:.0f} a second; try again in {math.ceil(late)} s",
                retry_after=late,
            )

    def _count(self, place: Place, samples: int) -> None:
        with self._lock:
            place.left = max(0, place.left - samples)
            now = self._clock()
            seconds, self._last = now - self._last, now
            fade = math.exp(-seconds / _MEMORY)
            self._samples, self._seconds = self._samples * fade + samples, self._seconds * fade + seconds

    def _leave(self, place: Place) -> None:
        with self._lock:
            self._places.discard(place)


class Place:
    """One request's place in the queue, until it leaves."""

    def __init__(self, queue: Queue, samples: int, end: float) -> None:
        self._queue, self.left, self.end = queue, samples, end

    def count(self, samples: int) -> None:
        """So many more of its votes have come."""
        self._queue._count(self, samples)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue._leave(self)
