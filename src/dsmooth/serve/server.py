"""The server: uvicorn around the application, with limits on slow heads, and an end without lost answers."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dsmooth.errors import BadParameter
from dsmooth.serve.app import gateway
from dsmooth.serve.complaints import heard
from dsmooth.serve.desk import Desk
from dsmooth.serve.faces.own import Own
from dsmooth.serve.guard import Log, to_stderr
from dsmooth.serve.rpc.base import RpcServer
from dsmooth.serve.settings import Settings

__all__ = ["Server"]

_HEAD_SECONDS: Final = 30.0
_HEAD_BYTES: Final = 65_536
_CONNECTIONS: Final = 1024
_HEARD: Final = ("uvicorn", "asyncio", "grpc", "dsmooth")


class _Patient(H11Protocol):
    """Waits 30 s at most for the head of a request, the first one and each that follows on a connection, and as long for a
    client to take anything of an answer that is ready for it.
    """

    head_seconds = _HEAD_SECONDS
    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()
        self._watch_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_writing()

    def _wait_for_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()  # the head has come
        elif self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _watch_writing(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left and self._writing is None:
            self._writing = self.loop.call_later(self.head_seconds, self._check_writing, left)

    def _check_writing(self, before: int) -> None:
        self._writing = None
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()  # closing would wait for who takes nothing
        else:
            self._watch_writing()

    def _stop_watching(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None


class Server:
    """A gateway on an address. `run` blocks until SIGTERM, SIGINT or `stop`.

    Then nothing new is accepted, and work in progress, including jobs, has `settings.drain` seconds. on_start is called
    with the port once it listens.
    """

    def __init__(
        self,
        desk: Desk,
        settings: Settings,
        *,
        on_start: Callable[[int], None] = lambda port: None,
        log: Log = to_stderr,
        head_seconds: float = _HEAD_SECONDS,
        **limits: Any,
    ) -> None:
        self._desk, self._settings, self._on_start, self._log = desk, settings, on_start, log
        self._end = math.inf  # when what is in progress is given up
        self.grpc_port: int | None = None
        app = gateway(desk, settings, log=log, **limits)
        own = app.state.faces["own"]
        assert isinstance(own, Own)
        self._own = own
        config = uvicorn.Config(
            app,
            http=type("Patient", (_Patient,), {"head_seconds": head_seconds}),
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=max(1, round(settings.drain)),
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        self._server = _Uvicorn(config, self.stop)
        self._socket = _listening(settings.host, settings.port)
        self.port = int(self._socket.getsockname()[1])

    def run(self) -> None:
        """Serves until it is told to end; everything is closed on return."""
        try:
            with ExitStack() as listening:
                for library in _HEARD:
                    listening.enter_context(heard(library, self._log))
                asyncio.run(self._run())
        finally:
            self._socket.close()
            self._desk.close()

    def stop(self) -> None:
        """Told to end: from any thread, or by a signal."""
        self._end = min(self._end, time.monotonic() + self._settings.drain)
        self._desk.draining = True
        self._server.should_exit = True

    async def _run(self) -> None:
        rpc = await self._start_rpc()
        serving = asyncio.ensure_future(self._server.serve([self._socket]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        if self._server.started:
            self._on_start(self.port)
        await serving
        left = max(0.0, min(self._settings.drain, self._end - time.monotonic()))
        await asyncio.gather(self._own.jobs.finish(left), *([] if rpc is None else [rpc.stop(left)]))

    async def _start_rpc(self) -> RpcServer | None:
        if self._settings.grpc_port is None:
            return None
        rpc = RpcServer(self._desk, self._settings, self._settings.grpc_port, self._log)
        await rpc.start()
        self.grpc_port = rpc.port
        return rpc


class _Uvicorn(uvicorn.Server):
    """uvicorn, which ends the process by the signal that it got; here the program goes on, and its exit code is its own."""

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                with suppress(RuntimeError):
                    loop.remove_signal_handler(number)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises BadParameter where that cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(2048)
        except BaseException:
            made.close()
            raise
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such name"
        raise BadParameter(f"cannot listen on {host} port {port} ({why}): choose another --host or --port") from error
    return made
