"""The contract of faces: each translates one way to ask into what the desk knows, and the answer back. None certifies."""

from __future__ import annotations

import asyncio
import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Final, TypeVar, final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from dsmooth.records.reading import strict_json
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Desk
from dsmooth.serve.guard import note_of
from dsmooth.serve.refusals import Refused

__all__ = ["Face", "Handler", "bearer", "bytes_of", "json_body", "parsed", "typed", "whole_body"]

_DEEPEST: Final = 32
_MOST_OBJECTS: Final = 10_000  # in a request: each takes a hundred bytes of memory, and may take three of JSON
_T = TypeVar("_T")

Handler = Callable[[Request, Caller], Coroutine[Any, Any, Response]]


class Face(ABC):
    """One way to ask. A subclass writes `routes` (each made by `route`), `refused`, and `key` where it is not a bearer's."""

    name: ClassVar[str]
    """As metrics and logs call it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    @abstractmethod
    def routes(self) -> list[Route]:
        """All addresses that it answers."""

    @abstractmethod
    def refused(self, refusal: Refused) -> Response:
        """A refusal in the words of its protocol."""

    def key(self, request: Request) -> str | None:
        """The caller's key, as the protocol carries it."""
        return bearer(request, "Bearer")

    async def caller(self, request: Request) -> Caller:
        """Who asks; raises Refused where that cannot be told."""
        return self.desk.callers.of_key(self.key(request))

    @final
    def route(self, path: str, method: str, handler: Handler, *, open_to_all: bool = False) -> Route:
        """The handler at a path: called for known callers within their rate, its refusals translated, and broken off when
        the client leaves. The body has been read by then; of strangers (open_to_all) none is.
        """

        async def endpoint(request: Request) -> Response:
            note = note_of(request.scope)
            note.update(face=self.name, method=method, endpoint=path)
            try:
                if open_to_all:
                    caller = _NOBODY
                else:
                    caller = await self.caller(request)
                    note["caller"] = caller.name
                    self.desk.callers.request(caller)
                    await whole_body(request)
                response = await _unless_gone(request, handler(request, caller))
            except Refused as refusal:
                note["reason"] = refusal.reason
                self.desk.metrics.refused(refusal.reason)
                response = self.refused(refusal)
            if certificate := response.headers.get("dsmooth-certificate"):
                note["certificate"] = certificate
            return response

        return Route(path, endpoint, methods=[method])


_NOBODY: Final = Caller("nobody")


async def whole_body(request: Request) -> bytes:
    """The body; raises Refused (closed) where the client hangs up before it is there."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise Refused("closed", "the client hung up") from None


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """What the work comes to; it is cancelled, and Refused (closed) raised, when the client hangs up."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refused("closed", "the client hung up")
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    receive: Callable[[], Awaitable[Any]] = request.receive
    while (await receive())["type"] != "http.disconnect":
        pass


def bearer(request: Request, scheme: str) -> str | None:
    """What follows this scheme in the Authorization header."""
    given, _, rest = request.headers.get("authorization", "").partition(" ")
    return rest.strip() or None if given.lower() == scheme.lower() else None


async def json_body(request: Request) -> dict[str, Any]:
    """The body as a JSON object; raises Refused for anything else."""
    return parsed(await request.body())


def parsed(text: bytes) -> dict[str, Any]:
    """A JSON object; raises Refused for anything else."""
    if (objects := text.count(b"{")) > _MOST_OBJECTS:
        raise Refused("bad_request", f"expected at most {_MOST_OBJECTS:,} JSON objects, got {objects:,}")
    try:
        value = strict_json(text, deepest=_DEEPEST, parse_constant=_no_constant)
    except (RecursionError, ValueError) as error:
        raise Refused("bad_request", f"expected a JSON object, got something else ({_short(error)})") from error
    return typed(value, dict, "the body")


def typed(value: object, kind: type[_T], name: str) -> _T:
    """The value, which is of that type; raises Refused otherwise."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Refused("bad_request", f"expected {name} as {_KINDS[kind]}, got {_kind(value)}")
    return value


def bytes_of(text: object, name: str) -> bytes:
    """The bytes that base64 stands for; raises Refused for anything else."""
    try:
        return base64.b64decode(typed(text, str, name), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("bad_request", f"expected {name} in base64, got other text") from None


_KINDS: Final[dict[type, str]] = {dict: "a JSON object", list: "a list", str: "text", int: "a whole number"}


def _kind(value: object) -> str:
    return next((words for kind, words in _KINDS.items() if type(value) is kind), "something else")


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _short(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, RecursionError) else str(error)[:100]
