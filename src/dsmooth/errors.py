"""Every exception that dsmooth raises on purpose.

    DsmoothError
    ├── BadInput            a parameter, array, file or model that cannot be used   (exit code 2)
    │   ├── BadParameter    a number or name outside what is accepted
    │   ├── BadImage        an image that cannot be read, or is off the pixel grid
    │   ├── BadModel        a classifier or denoiser that cannot be loaded or does not fit
    │   └── BadRun          a run folder that is missing, damaged, or made with other parameters
    │       └── Disproved   a record or certificate contradicts its own evidence
    ├── MissingPackage      an optional package is not installed                    (exit code 2)
    ├── Drifted             the classifier changed its answers during a run         (exit code 1)
    ├── NoiseFailed         the noise failed its self-test: nothing was certified   (exit code 1)
    ├── Expired             not all votes came before the deadline                  (exit code 1)
    ├── SessionClosed       the session was closed before the answer came           (exit code 1)
    ├── ServiceStopped      a service failed or the budget ran out; resumable       (exit code 3)
    ├── WitnessAwaited      the witness of a run is not available yet; resumable    (exit code 3)
    └── TrainingDiverged    the loss or the weights became NaN                      (exit code 1)

Messages are one line: what was expected, what came, what to do.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = [
    "BadImage",
    "BadInput",
    "BadModel",
    "BadParameter",
    "BadRun",
    "Disproved",
    "Drifted",
    "DsmoothError",
    "Expired",
    "MissingPackage",
    "NoiseFailed",
    "ServiceStopped",
    "SessionClosed",
    "TrainingDiverged",
    "WitnessAwaited",
    "first_line",
    "last_line",
    "require",
]


class DsmoothError(Exception):
    """The base of every exception that dsmooth raises on purpose."""

    exit_code = 1


class BadInput(DsmoothError, ValueError):
    """An input cannot be used; nothing was written."""

    exit_code = 2


class BadParameter(BadInput):
    """A number or a name is outside what is accepted."""


class BadImage(BadInput):
    """An image cannot be read, or its pixels are not whole numbers from 0 to 255."""


class BadModel(BadInput):
    """A classifier or a denoiser cannot be loaded, or does not fit the images."""


class BadRun(BadInput):
    """A run folder is missing, damaged, busy, or was made with other parameters."""


class Disproved(BadRun):
    """A record or certificate contradicts its own evidence (digests, counts, votes, key)."""


class MissingPackage(DsmoothError, ImportError):
    """An optional package is not installed; the message has the command that installs it."""

    exit_code = 2


class Drifted(DsmoothError):
    """The classifier answered the same batch differently than before: later votes are those of another function."""


class NoiseFailed(DsmoothError):
    """The noise of a run failed its self-test: it is not the noise that the theorem assumes."""


class Expired(DsmoothError):
    """Not all votes of an image came before its deadline; there is no certificate from fewer votes than were fixed."""


class SessionClosed(DsmoothError):
    """The session was closed, or the image cancelled, before its answer came."""


class ServiceStopped(DsmoothError):
    """A remote service failed or changed, or its budget is spent; its answers are kept, and the run can be resumed."""

    exit_code = 3


class WitnessAwaited(DsmoothError):
    """A run waits for a time stamp and a round of a beacon: settings, images and key are fixed, no vote is drawn."""

    exit_code = 3

    def __init__(self, message: str, steps: tuple[str, str]) -> None:
        super().__init__(message)
        self.steps = steps
        """What to do, in two lines."""


class TrainingDiverged(DsmoothError):
    """The loss or the weights became NaN; the last good checkpoint was kept."""


def first_line(error: BaseException) -> str:
    """The first line of what an error of another package says; its type where it says nothing."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """The last line, where the reason stands below what was tried."""
    return _lines(error)[-1].strip()


def _lines(error: BaseException) -> list[str]:
    return str(error).strip().splitlines() or [type(error).__name__]


def require(module: str, extra: str) -> ModuleType:
    """The optional module, imported.

    Raises MissingPackage with the command that installs the extra, if it is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"{(error.name or module).partition('.')[0]} is not installed: run pip install 'dsmooth[{extra}]' ({error})"
        ) from error
