"""Before the first vote: prompt interruption, and a line on what runs and how long it will take."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dsmooth.console import complain, duration, note

if TYPE_CHECKING:
    from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["heard_at_once", "tell_pace"]

_INTERRUPTED = 128 + signal.SIGINT
_ENOUGH = b"\0"  # no signal has this number
_MANY = 40  # batches, below which a run is over before its time is measured
_NAMES = {"eager": "torch", "openvino": "OpenVINO", "cuda": "the GPU"}


@contextmanager
def heard_at_once() -> Iterator[None]:
    """Inside, Ctrl-C ends the program at once, whatever native code is running: only for where nothing is written.

    Python itself would react when that code returns, and compiling a network takes seconds. A thread of its own is woken
    by the signal. Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tell = socket.socketpair()
    tell.setblocking(False)
    before = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_leave_when_told, args=(told,), name="dsmooth-interruption", daemon=True)
    watch.start()
    try:
        yield
    except KeyboardInterrupt:
        _leave()
    finally:
        signal.set_wakeup_fd(before)
        tell.send(_ENOUGH)  # closing is not enough: a process that was forked meanwhile holds this end too
        watch.join()
        tell.close()
        told.close()


def tell_pace(smoothed: SmoothedClassifier, shape: tuple[int, ...], samples: int, *, chosen: bool) -> None:
    """Reports what runs the networks, and roughly how long `samples` take; `chosen`: the user chose the dtype."""
    backend = smoothed.pipeline.backend
    exact = (
        ""
        if chosen or backend.dtype == "fp32"
        else ", several times as fast as fp32 (--dtype fp32 runs the exact network)"
    )
    worth = samples >= _MANY * smoothed.sizes.rows(shape)
    seconds = smoothed.seconds_a_sample(shape) if worth else None
    pace = "" if seconds is None else f": about {duration(samples * seconds)} for {samples:,} samples"
    note(f"{backend.dtype} on {_NAMES.get(backend.name, backend.name)}{exact}{pace}")


def _leave_when_told(told: socket.socket) -> None:
    while (number := told.recv(1)) != _ENOUGH:
        if number[0] == signal.SIGINT:
            _leave()


def _leave() -> None:
    complain("interrupted while setting up; nothing of this run was written")
    sys.stdout.flush()
    os._exit(_INTERRUPTED)  # not sys.exit: threads of native code would be waited for
