"""What holds for every SDK that speaks HTTP over urllib3: no redirect, a bounded answer, and a line that can be hung up.

SDKs follow redirects with key and image, unpack whatever they are sent, and limit the time between two bytes only. Here
their connections are replaced by ones that read each answer whole, within limits.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from dsmooth.errors import require
from dsmooth.services.provider import QueryFailed, failed_with

__all__ = ["MOST_BYTES", "Line", "guard", "session"]

MOST_BYTES: Final = 4_000_000
"""Of an answer, as it is sent and as it is unpacked."""

_BLOCK = 1 << 16
_GZIP_OR_ZLIB = 47  # for zlib: it finds out by the header
_PACKED = ("gzip", "x-gzip", "deflate")
_here = threading.local()


class Line:
    """What one try waits on, in the thread that enters it; another thread may hang up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: Any = None
        self._over = False

    def __enter__(self) -> Line:
        _here.line = self
        return self

    def __exit__(self, *_: object) -> None:
        _here.line = None

    @contextlib.contextmanager
    def waiting(self, on: Any) -> Iterator[None]:
        """Inside, the answer is awaited on this socket."""
        with self._lock:
            if self._over:
                raise QueryFailed("hung up before the answer was awaited")
            self._socket = on
        try:
            yield
        finally:
            with self._lock:
                self._socket = None

    def hang_up(self) -> None:
        """The try ends at once, and closes its connection, wherever it waits."""
        with self._lock:
            self._over = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # the other end has hung up already
                    if isinstance(self._socket, socket.socket):
                        # not SSLSocket's own, which takes the encryption away under the other thread's hands
                        socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                    else:
                        self._socket.close()  # TLS within the TLS of a proxy


class _Guarded:
    """Mixed into a connection of urllib3."""

    sock: Any

    def getresponse(self) -> Any:
        line = getattr(_here, "line", None) or Line()
        with line.waiting(self.sock):
            response = super().getresponse()  # type: ignore[misc]
            plain = response._original_response  # http.client's own limits the lines of chunks, too
            try:
                if 300 <= response.status < 400:
                    raise failed_with(response.status, "a redirect, which is not followed")
                data = _unpacked(_blocks(plain), response.headers.pop("Content-Encoding", ""))
            except BaseException:
                plain.close()  # it may be the last to hold the socket
                raise
        response.headers.pop("Transfer-Encoding", None)
        response.headers["Content-Length"] = str(len(data))
        return type(response)(
            io.BytesIO(data),
            headers=response.headers,
            status=response.status,
            reason=response.reason,
            version=response.version,
            preload_content=False,
            original_response=plain,  # at its end the connection goes back to its pool
        )


def guard(manager: Any) -> Any:
    """The pool manager of urllib3, with guarded connections from now on."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: guarded(pool) for scheme, pool in pools.items()}
    return manager


@cache
def guarded(pool: type) -> type:
    """The same kind of connection pool, with guarded connections."""
    connection: type = pool.ConnectionCls  # type: ignore[attr-defined]
    if issubclass(connection, _Guarded):
        return pool
    return type(pool.__name__, (pool,), {"ConnectionCls": type(connection.__name__, (_Guarded, connection), {})})


def session(extra: str, connections: int, existing: Any = None) -> Any:
    """A session of requests (or the one that exists already) that keeps so many guarded connections."""
    requests = require("requests", extra)
    adapters = require("requests.adapters", extra)

    class Adapter(adapters.HTTPAdapter):  # type: ignore[name-defined, misc]
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            guard(self.poolmanager)

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            return guard(super().proxy_manager_for(*args, **options))

    made = requests.Session() if existing is None else existing
    made.headers["Accept-Encoding"] = "identity"
    for scheme in ("http://", "https://"):
        made.mount(scheme, Adapter(pool_maxsize=connections))
    return made


def _blocks(response: Any) -> Iterator[bytes]:
    """The body as it is sent; raises QueryFailed where it is too long, or ends before its end."""
    length = 0
    while block := response.read(_BLOCK):
        length += len(block)
        if length > MOST_BYTES:
            raise _too_long()
        yield block
    if response.length:
        raise QueryFailed("the connection ended before the answer did")


def _unpacked(blocks: Iterator[bytes], encoding: str) -> bytes:
    """The body without its one layer of compression, if it has one, although none was asked for."""
    layers = [name for name in (part.strip().lower() for part in encoding.split(",")) if name not in ("", "identity")]
    if not layers:
        return b"".join(blocks)
    if len(layers) > 1 or layers[0] not in _PACKED:
        raise QueryFailed(f"expected an answer as it is, got one encoded as {encoding[:40]!r}", retry=False)
    unpacking, data = zlib.decompressobj(_GZIP_OR_ZLIB), b""
    try:
        for block in blocks:
            data += unpacking.decompress(block, MOST_BYTES + 1 - len(data))
            if len(data) > MOST_BYTES:
                raise _too_long()
    except zlib.error as error:
        raise QueryFailed(f"an answer that cannot be unpacked ({error})") from error
    if not unpacking.eof or unpacking.unused_data:
        raise QueryFailed("an answer that cannot be unpacked (it does not end where it says)")
    return data


def _too_long() -> QueryFailed:
    return QueryFailed(f"an answer of more than {MOST_BYTES:,} bytes", retry=False)
