"""Which query may be sent, and when: rate, budget, circuit breaker."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

from dsmooth.errors import BadParameter, ServiceStopped
from dsmooth.theory.bounds import check_count

__all__ = ["FAILURES_IN_A_ROW", "LONGEST_WAIT", "Gate", "Limits"]

FAILURES_IN_A_ROW: Final = 20
LONGEST_WAIT: Final = 60.0
"""Seconds: a service that asks for a longer pause ends the run, which can be resumed then."""
_MOST_AT_ONCE, _MOST_TRIES = 1024, 100
# beyond these, arithmetic and clocks give out
_RANGES: Final = {"rate": (1e-6, 1e6), "time_limit": (1e-3, 86_400.0), "max_dollars": (1e-6, 1e9)}
_CHEAPEST, _DEAREST = 1e-6, 1e6
_REST: Final = 30.0  # seconds after which a service that failed may be tried again
_NAP = 0.5  # seconds between looks at whether the pause has grown


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be sent, and how."""

    concurrency: int = 32
    """Most queries in flight."""
    rate: float | None = None
    """Most queries per second."""
    time_limit: float = 10.0
    """Timeout of one try in seconds, from its first byte to the answer's last."""
    tries: int = 5
    """Most tries of the same query, the first one included."""
    max_queries: int | None = None
    """Most queries of a run, including retries and its earlier parts."""
    max_dollars: float | None = None
    price: float | None = None
    """Dollars per 1,000 queries; providers do not say whether failed ones are charged, so all count."""

    def __post_init__(self) -> None:
        check_count(self.concurrency, "concurrency", most=_MOST_AT_ONCE)
        check_count(self.tries, "tries", most=_MOST_TRIES)
        if self.max_queries is not None:
            check_count(self.max_queries, "max-queries")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise BadParameter(
                    f"{name.replace('_', '-')} must be a number above 0, from {least:g} to {most:g}, got {value}"
                )
        if self.price is not None and self.price != 0.0 and not _CHEAPEST <= self.price <= _DEAREST:
            raise BadParameter(
                "price must be a number of dollars per 1,000 queries, "
                f"0 or from {_CHEAPEST:g} to {_DEAREST:g}, got {self.price}"
            )

    @property
    def budget(self) -> int | None:
        """The most queries that both caps allow."""
        caps = [] if self.max_queries is None else [self.max_queries]
        if self.max_dollars is not None and self.price:
            caps.append(int(1000.0 * self.max_dollars / self.price * (1.0 + 1e-12)))
        return min(caps, default=None)

    def dollars(self, queries: int) -> float | None:
        """The list price of so many queries, where it is known."""
        return None if self.price is None else queries * self.price / 1000.0


class Gate:
    """Lets queries through one by one; threads share it. `sent` counts the queries of the whole run.

    `outcomes`: how many tries were answered, and how many failed.
    """

    def __init__(self, name: str, limits: Limits, *, sent: int = 0) -> None:
        self.name, self.limits, self.sent = name, limits, sent
        self._lock = threading.Lock()
        self._closed: str | None = None
        self._shut = threading.Event()
        self._next = 0.0
        self._failures = 0
        self._broken: float | None = None
        self.outcomes = {"answered": 0, "failed": 0}
        # where more are in flight, one burst can fail together: it must take another failure after it
        self._most_failures = max(FAILURES_IN_A_ROW, limits.concurrency + 1)

    def enter(self) -> None:
        """Returns when one query may be sent, and has it counted; raises ServiceStopped when none may be any more."""
        interval = 0.0 if self.limits.rate is None else 1.0 / self.limits.rate
        while True:
            with self._lock:
                if self._closed is None and self.limits.budget is not None and self.sent >= self.limits.budget:
                    self._close(self._spent())
                self.check()
                now = time.monotonic()
                if now >= self._next:
                    self._next = now + interval
                    self.sent += 1
                    return
                wait = self._next - now
            self._shut.wait(min(wait, _NAP))

    def answered(self) -> None:
        """A try was answered."""
        with self._lock:
            self._failures = 0
            self.outcomes["answered"] += 1

    def failed(self, why: str, wait: float | None, *, fatal: bool = False) -> None:
        """A try failed; `wait` seconds hold for everybody. Closes the gate when that is enough."""
        with self._lock:
            self._failures += 1
            self.outcomes["failed"] += 1
            if fatal:
                self._break(f"{self.name} refuses every query: {why}; check key and address, then --resume")
            elif self._failures >= self._most_failures:
                self._break(
                    f"{self.name} failed {self._failures} times in a row, last with: {why}; the run is partial, "
                    "continue later with --resume"
                )
            elif wait is not None and wait > LONGEST_WAIT:
                self._break(
                    f"{self.name} asks to wait {wait:.0f} s ({why}); the run is partial, continue after that with --resume"
                )
            elif wait is not None:
                self._next = max(self._next, time.monotonic() + wait)

    def close(self, why: str) -> None:
        """No query is let through from now on; `why` is what the others are told."""
        with self._lock:
            self._close(why)

    def check(self) -> None:
        """Raises ServiceStopped, with the reason, where the gate is closed."""
        if self._closed is not None:
            raise ServiceStopped(self._closed)

    @property
    def closed(self) -> bool:
        return self._shut.is_set()

    @property
    def available(self) -> bool:
        """Whether a query would be answered, as far as is known: no failure closed it lately, and budget is left."""
        spent = self.limits.budget is not None and self.sent >= self.limits.budget
        return not spent and (self._broken is None or time.monotonic() - self._broken > _REST)

    def pause(self, seconds: float) -> None:
        """Sleeps, but not beyond the moment at which the gate is closed."""
        self._shut.wait(seconds)

    def _break(self, why: str) -> None:
        self._broken = time.monotonic()
        self._close(why)

    def _close(self, why: str) -> None:
        self._closed = self._closed or why
        self._shut.set()

    def _spent(self) -> str:
        dollars = self.limits.dollars(self.sent)
        price = "" if dollars is None else f" (${dollars:.2f} at list price)"
        return (
            f"the budget of {self.limits.budget:,} queries{price} is spent; the run is partial, "
            "continue with --resume and a higher --max-queries or --max-dollars"
        )
