"""Signals that end a command, wherever they arrive."""

from __future__ import annotations

import signal
import sys
from types import FrameType

__all__ = ["end_if_asked", "ending", "listen"]

_ASKED: list[int] = []


def listen() -> None:
    """Ctrl-C and SIGTERM end the program from now on; Ctrl-C not where it is ignored, as in the background of a shell."""
    signal.signal(signal.SIGTERM, _ask)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _ask)


def ending() -> int | None:
    """The signal that asked the program to end; None: none did."""
    return _ASKED[0] if _ASKED else None


def end_if_asked() -> None:
    """Ends the program if a signal asked for it and its exception was lost.

    A signal raises its exception wherever the program is: inside a callback, where it is lost, or inside an import, where it
    becomes another one. Loops with a progress bar come here at every step.
    """
    if (number := ending()) is not None:
        sys.exit(128 + number)


def _ask(number: int, frame: FrameType | None) -> None:
    _ASKED.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
