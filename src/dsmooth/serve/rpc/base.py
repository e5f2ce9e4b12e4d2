"""The contract of gRPC services: the same desk, keys, quotas, measurements and log as over HTTP."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, TypeVar, final

from dsmooth.errors import BadParameter, require
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Desk
from dsmooth.serve.guard import Log, where_of
from dsmooth.serve.refusals import REASONS, Refused
from dsmooth.serve.rpc.known import SERVICES
from dsmooth.serve.settings import Settings
from dsmooth.serve.tracing import Told

__all__ = ["RpcServer", "Service"]

_CODES: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED", 415: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_OK: Final = 200
_MOST_CALLS: Final = 64  # gRPC takes a call's whole message, a stranger's too, before anybody here sees it
_T = TypeVar("_T")


class Service(ABC):
    """One gRPC service. A subclass writes `add`, and answers its calls through `answered`."""

    name: ClassVar[str]
    """As metrics and logs call it."""

    def __init__(self, desk: Desk, log: Log) -> None:
        self.desk, self._log = desk, log
        self._grpc = require("grpc", "grpc")

    @abstractmethod
    def add(self, server: Any) -> None:
        """The server answers its calls from now on; raises MissingPackage where what describes them is not installed."""

    @final
    async def answered(
        self,
        context: Any,
        call: str,
        work: Callable[[Caller], Awaitable[_T]],
        *,
        refused: Callable[[Refused], _T] | None = None,
        open_to_all: bool = False,
    ) -> _T:
        """What the work comes to, for a known caller; a refusal becomes `refused`'s answer, or ends the call with its code.

        When the client leaves, gRPC cancels the work.
        """
        with self.desk.tracing.request(_texts(context)) as told:
            return await self._watched(context, call, work, refused, open_to_all, told)

    async def _watched(
        self,
        context: Any,
        call: str,
        work: Callable[[Caller], Awaitable[_T]],
        refused: Callable[[Refused], _T] | None,
        open_to_all: bool,
        told: Told,
    ) -> _T:
        started, status = time.monotonic(), _OK
        note: dict[str, Any] = {"face": self.name, "endpoint": call}
        try:
            caller = Caller("nobody")
            if not open_to_all:
                caller = self.desk.callers.of_key(_key(context))
                note["caller"] = caller.name
                self.desk.callers.request(caller)
            return await work(caller)
        except Refused as refusal:
            status, note["reason"] = refusal.status, refusal.reason
            self.desk.metrics.refused(refusal.reason)
            if refused is not None:
                return refused(refusal)
            await context.abort(self._code(status), str(refusal), self._metadata(refusal))
            raise
        except asyncio.CancelledError:
            status, note["reason"] = REASONS["closed"], "closed"
            self.desk.metrics.refused("closed")
            raise
        except Exception as error:
            # a fault of this program: whoever asked learns nothing of it, the operator where it is
            status = REASONS["failed"]
            note.update(reason="failed", error=type(error).__name__, where=where_of(error))
            self.desk.metrics.refused("failed")
            await context.abort(self._code(status), "the server failed; see its log")
            raise
        finally:
            seconds = time.monotonic() - started
            self.desk.metrics.request(self.name, "POST", status, seconds)
            entry = {"time": round(time.time(), 3), "status": status, "seconds": round(seconds, 3), **note}
            told(entry)
            self._log(entry)

    def _code(self, status: int) -> Any:
        return getattr(self._grpc.StatusCode, _CODES.get(status, "UNKNOWN"))

    @staticmethod
    def _metadata(refusal: Refused) -> tuple[tuple[str, str], ...]:
        return tuple((name.lower(), value) for name, value in refusal.headers.items())


class RpcServer:
    """A gRPC server with every service, on a port (0: any free one).

    Raises BadParameter where it cannot listen there, MissingPackage without the extra. It is made, started and stopped on
    one event loop.
    """

    def __init__(self, desk: Desk, settings: Settings, port: int, log: Log) -> None:
        grpc = require("grpc", "grpc")
        aio = require("grpc.aio", "grpc")
        most = ("grpc.max_receive_message_length", settings.most_body)
        self._server = aio.server(options=[most, ("grpc.so_reuseport", 0)], maximum_concurrent_rpcs=_MOST_CALLS)
        for name in SERVICES:
            SERVICES.load(name)(desk, log).add(self._server)
        address = f"{f'[{settings.host}]' if ':' in settings.host else settings.host}:{port}"
        try:
            if settings.tls_certificate is not None and settings.tls_key is not None:
                pair = (settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())
                self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                self.port = self._server.add_insecure_port(address)
        except (OSError, RuntimeError) as error:
            raise BadParameter(f"cannot listen for gRPC on {address}: choose another --grpc-port") from error

    async def start(self) -> None:
        """Calls are answered."""
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Nothing new; calls in progress have ended, or are cancelled after so many seconds."""
        await self._server.stop(seconds)


def _texts(context: Any) -> dict[str, str]:
    """The call's metadata, as far as it is text."""
    return {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}


def _key(context: Any) -> str | None:
    """The key in the call's metadata: "Bearer KEY", or "Key KEY" as Clarifai's clients say."""
    scheme, _, key = _texts(context).get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() in ("bearer", "key") else None
