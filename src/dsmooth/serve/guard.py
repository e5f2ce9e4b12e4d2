"""What holds for every request, whichever face answers it: where it may come from, how long and large it may be.

One line of JSON is logged for each, without a word of the request's own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dsmooth.serve.metrics import Metrics
from dsmooth.serve.refusals import Refused
from dsmooth.serve.tracing import Told, Tracing

__all__ = ["Guard", "Log", "note_of", "to_stderr", "where_of"]

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_BODY_SECONDS: Final = 60.0
_MOST_HELD: Final = 32  # whole bodies that may be in memory at once
_NOTE: Final = "dsmooth"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

Log = Callable[[dict[str, Any]], None]


def to_stderr(entry: dict[str, Any]) -> None:
    """One line of JSON on standard error."""
    print(json.dumps(entry, ensure_ascii=True), file=sys.stderr, flush=True)


def note_of(scope: MutableMapping[str, Any]) -> dict[str, Any]:
    """What is to be logged of a request: faces add to it."""
    note: dict[str, Any] = scope.setdefault(_NOTE, {})
    return note


class Guard:
    """ASGI middleware around all faces.

    private: the server answers this machine alone, without keys, so a page from elsewhere must not reach it by a name of
    its own (DNS rebinding): Host must be a loopback name.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        tracing: Tracing,
        private: bool,
        most_body: int,
        body_seconds: float = _BODY_SECONDS,
        log: Log = to_stderr,
    ) -> None:
        self._app, self._metrics, self._private, self._log = app, metrics, private, log
        self._most_body, self._body_seconds = most_body, body_seconds
        self._tracing, self._held = tracing, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracing.request(Headers(scope=scope)) as told:
            await self._answer(scope, receive, send, told)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, told: Told) -> None:
        started, note = time.monotonic(), note_of(scope)
        reading = _Reading(self, receive)
        status = 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(Headers(scope=scope))
            await self._app(scope, reading, sent)
        except Refused as refusal:
            note["reason"] = refusal.reason
            self._metrics.refused(refusal.reason)
            if not status:
                await _plain(refusal)(scope, receive, sent)
        except asyncio.CancelledError:  # the server ends, and has waited long enough
            note["reason"] = "draining"
            self._metrics.refused("draining")
            if not status:
                closing = Refused("draining", "the server closed before the answer came; try again", retry_after=5.0)
                await _plain(closing)(scope, receive, sent)
        except Exception as error:
            # a fault of this program: whoever asked learns nothing of it, the operator where it is
            note.update(reason="failed", error=type(error).__name__, where=where_of(error))
            self._metrics.refused("failed")
            if not status:
                await _plain(Refused("failed", "the server failed; see its log"))(scope, receive, sent)
        finally:
            self._held -= reading.size
            seconds = time.monotonic() - started
            face = note.setdefault("face", "none")
            self._metrics.request(face, scope["method"], status, seconds)
            entry = {"time": round(time.time(), 3), "status": status, "seconds": round(seconds, 3), **note}
            told(entry)
            self._log(entry)

    def _check(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._private and _name(f"//{host}") not in _LOOPBACK:
            raise Refused("forbidden", "expected a Host header that names this machine: use the address localhost")
        origin = headers.get("origin")
        if origin is not None and _host_of(origin) != host.lower():
            raise Refused("forbidden", "pages of other origins may not use this server")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused("unsupported", "expected an uncompressed body: send it without Content-Encoding")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._most_body:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(
            "too_large", f"expected a body of at most {self._most_body:,} bytes, got more: send a smaller picture"
        )

    def hold(self, size: int, whole: int) -> None:
        """So many more bytes of a body that has `whole` so far; raises Refused where that is too much."""
        self._held += size
        if whole > self._most_body:
            raise self._too_large()
        if self._held > _MOST_HELD * self._most_body:
            raise Refused("full", "too many uploads at once; try again in a moment", retry_after=1.0)


class _Reading:
    """The body of one request as it comes, within its limits."""

    def __init__(self, guard: Guard, receive: Receive) -> None:
        self._guard, self._receive = guard, receive
        self._end = time.monotonic() + guard._body_seconds
        self.size = 0
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._end - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            seconds = self._guard._body_seconds
            raise Refused("timeout", f"expected the whole body within {seconds:g} s") from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.size += size
            self._guard.hold(size, self.size)
            self._whole = not message.get("more_body", False)
        return message


def _host_of(origin: str) -> str | None:
    """Host and port of an origin, in lower case; None for what is none ("null", say)."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _plain(refusal: Refused) -> JSONResponse:
    return JSONResponse({"error": str(refusal)}, refusal.status, refusal.headers)


def where_of(error: BaseException) -> str:
    """File and line where it went wrong: of this program, so nothing of the request is in it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
