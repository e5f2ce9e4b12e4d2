"""Whether a server is listening at an address: one connection before a run, rather than failing tries."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

from dsmooth.errors import ServiceStopped

__all__ = ["check_listening"]

_PORTS = {"http": 80, "https": 443}


def check_listening(address: str, *, seconds: float, proxied: bool) -> None:
    """Raises ServiceStopped where no connection can be opened to http(s)://HOST[:PORT]/... within so many seconds.

    Nothing is sent. `proxied`: who asks goes through the proxies of the environment; where there are some, they decide who
    can be reached, and nothing is checked.
    """
    if proxied and getproxies():
        return
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or _PORTS[parts.scheme]), timeout=seconds).close()
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        port = f":{parts.port}" if parts.port else ""
        raise ServiceStopped(
            f"no answer at {parts.scheme}://{parts.hostname}{port} ({why}): check the address, and that the service "
            "runs; nothing was sent"
        ) from error
