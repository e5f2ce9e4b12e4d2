"""A connection to a Ray cluster that lets nobody in without its token.

Whoever may speak with a Ray cluster runs code in it, and by default that is whoever reaches it (CVE-2023-48022). So tokens
are always on, a cluster without them is refused, and one that is started here listens on the loopback interface only.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadParameter, first_line, require

__all__ = ["Cluster", "address_of", "connected", "imported"]

_TOKENS: Final = {"RAY_AUTH_MODE": "token"}
_LOOPBACK: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Off means on Linux too: the node has the address 127.0.0.1, and Ray listens there alone."""

_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SCHEDULER_EVENTS": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""The last: whatever its log says of killed workers, in place of a result on standard output; we say it ourselves."""

_START: Final = 600.0  # seconds that a process of a cluster of our own may take to start: a busy machine needs some
_LOOK: Final = 120.0  # seconds that its raylet may take
_PATIENT: Final = {
    "RAY_gcs_server_port_wait_time_s": f"{_START:.0f}",
    "RAY_gcs_server_request_timeout_seconds": f"{_START:.0f}",
    "RAY_worker_register_timeout_seconds": f"{_START:.0f}",
    "RAY_agent_register_timeout_ms": f"{1000 * _START:.0f}",
    "RAY_health_check_timeout_ms": "60000",
}
"""Ray takes what has no time to answer for dead, kills it and starts another, which has no time either."""

_AGENTS: Final = ("metrics_agent_port", "runtime_env_agent_port")
_STARTS: Final = 3

_KNOCK: Final = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=10)
    print("answered")
except AuthenticationError:
    print("refused")
"""

_INIT: Final = {"log_to_driver": False, "configure_logging": False}
_PATIENCE: Final = 10.0  # seconds
_lock: Final = threading.Lock()
_own: Final[set[str]] = set()
"""Addresses of clusters that were started here."""


class Cluster:
    """Ray, connected. `own`: it was started here, and ends with this process."""

    def __init__(self, ray: Any, *, own: bool) -> None:
        self.ray, self.own = ray, own

    def room(self, *, gpus: float) -> int:
        """How many workers there is room for now: one a core, or a part of a GPU each."""
        held = self.ray.cluster_resources()
        return int(held.get("GPU", 0.0) / gpus) if gpus else int(held.get("CPU", 0.0))


def address_of(engine: str) -> str | None:
    """Where the cluster of ray:ADDRESS is; None for ray alone: one of our own."""
    name, colon, address = engine.partition(":")
    if address.startswith("//") or (colon and not address):
        raise BadParameter(f"expected {name}, {name}:auto or {name}:HOST:PORT, got {engine!r}")
    return address if colon else None


def imported(address: str | None) -> Any:
    """Ray, set up before it is imported, which is when it reads its settings.

    Raises MissingPackage, or BadParameter where it was imported before with others, and is not connected.
    """
    needed = {**_TOKENS, **(_LOOPBACK if address is None else {})}
    if (ray := sys.modules.get("ray")) is not None:
        missing = [f"{name}={value}" for name, value in needed.items() if os.environ.get(name) != value]
        if missing and not ray.is_initialized():
            raise BadParameter(
                f"ray was imported before its settings: let dsmooth import it, or set {' '.join(missing)} before"
            )
        return ray
    os.environ.update({**needed, **_QUIET})
    if address is None:
        os.environ.update(_PATIENT)
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray = require("ray", "ray")
    logging.getLogger("ray").setLevel(logging.ERROR)  # what users need to know is said in lines of our own
    return ray


def connected(address: str | None) -> Cluster:
    """This process is connected with the cluster at `address` ("auto": the one that it runs in), or with one of its own.

    A connection that exists is used. Raises BadParameter where there is no cluster, another one, or one without tokens.
    """
    with _lock:
        ray = imported(address)
        began = not ray.is_initialized()
        if began:
            if address is None:
                _start_here(ray)
            else:
                _join(ray, address)
        found = str(ray.get_runtime_context().gcs_address)
        if address not in (None, "auto", found):
            raise BadParameter(
                f"this process is connected with the Ray cluster at {found}, not with the one at {address}"
            )
        if not _guarded(found):
            if began:
                ray.shutdown()
            raise BadParameter(
                f"the Ray cluster at {found} answers without a token, so anyone who reaches it can run code in it: start it "
                "with RAY_AUTH_MODE=token, and the same in this environment"
            )
        return Cluster(ray, own=found in _own)


def _join(ray: Any, address: str) -> None:
    host, _, port = address.rpartition(":")
    if host:  # Ray itself would try for minutes
        try:
            socket.create_connection((host, int(port)), _PATIENCE).close()
        except (OSError, ValueError, OverflowError) as error:
            raise BadParameter(
                f"expected a Ray cluster at HOST:PORT, but nothing answers at {address}: {error}"
            ) from error
        if _refuses(address, os.environ):
            raise BadParameter(
                f"no connection to a Ray cluster at {address}: it refuses this token; its own belongs into RAY_AUTH_TOKEN "
                "or the file RAY_AUTH_TOKEN_PATH"
            )
    try:
        ray.init(address=address, **_INIT)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        line = first_line(error)
        raise BadParameter(
            f"no connection to a Ray cluster at {address} (its token belongs into RAY_AUTH_TOKEN or the file "
            f"RAY_AUTH_TOKEN_PATH): {line[:300]}"
        ) from error


def _start_here(ray: Any) -> None:
    """A cluster of this machine runs; a second try is for a port that somebody else took meanwhile."""
    failed: Exception | None = None
    for _ in range(_STARTS):
        try:
            _in_a_thread_that_stays(lambda: _start(ray))
            return
        except Exception as error:  # Ray raises plain ones
            failed = error
    raise BadParameter(f"Ray cannot be started on this machine: {failed}") from failed


@contextmanager
def _patience(ray: Any, folder: str) -> Iterator[int]:
    """Inside, Ray waits for its own processes, also on a busy machine: two waits have no setting. A port for its metrics.

    Its raylet ends itself where agents do not write down four ports within 15 s, so three are given, and of the fourth it is
    written that there is none; and Ray looks for the raylet for 30 s, so each look lasts until it is there.
    """
    services, parameter, raylet = ray._private.services, ray._private.parameter, ray._raylet
    look, parameters = services.get_node, parameter.RayParams

    def wait(address: str, node: str) -> Any:
        until = time.monotonic() + _LOOK
        raylet.persist_port(f"{folder}/session_latest", node, raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME, -1)
        while True:
            try:
                return look(address, node)
            except RuntimeError:  # it is not there yet
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    services.get_node = wait
    ports = _free_ports(len(_AGENTS) + 1)
    parameter.RayParams = partial(parameters, **dict(zip(_AGENTS, ports, strict=False)))
    try:
        yield ports[-1]
    finally:
        services.get_node, parameter.RayParams = look, parameters


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback interface on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _start(ray: Any) -> None:
    folder = tempfile.mkdtemp(prefix="dsmooth-ray-")  # 0700: what workers write to their logs is nobody's business
    atexit.register(_leave, ray, folder)
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        str(Path(each).absolute()) for each in sys.path
    )  # what is found here, is there
    try:
        with _patience(ray, folder) as port:
            ray.init(
                address="local",
                num_cpus=1,
                include_dashboard=False,
                _temp_dir=folder,
                _metrics_export_port=port,
                **_INIT,
            )
    finally:
        del os.environ["PYTHONPATH"]
        if path is not None:
            os.environ["PYTHONPATH"] = path
    _own.add(str(ray.get_runtime_context().gcs_address))


def _leave(ray: Any, folder: str) -> None:
    """At the end of the program."""
    ray.shutdown(_exiting_interpreter=True)
    shutil.rmtree(folder, ignore_errors=True)


def _guarded(address: str) -> bool:
    """Whether who comes without a token is turned away, by trying it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    return _refuses(address, {**environment, "RAY_AUTH_MODE": "disabled"})


def _refuses(address: str, environment: Mapping[str, str]) -> bool:
    """Whether the cluster turns away a process with this environment."""
    knock = [sys.executable, "-c", _KNOCK, address]
    return (
        subprocess.run(knock, env=environment, capture_output=True, text=True, check=False)
        .stdout.strip()
        .endswith("refused")
    )


def _in_a_thread_that_stays(call: Callable[[], None]) -> None:
    """On Linux Ray's processes end with the thread that started them, not with its process: this one never ends, unless
    the call fails.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            done.set_exception(error)
            return
        done.set_result(None)
        threading.Event().wait()

    threading.Thread(target=run, name="dsmooth-ray", daemon=True).start()
    done.result()
