"""What libraries complain of, as lines of the log in place of text and tracebacks between them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from dsmooth.serve.guard import Log, where_of

__all__ = ["heard"]

_MOST: Final = 200  # letters


@contextmanager
def heard(library: str, log: Log) -> Iterator[None]:
    """Inside, each warning and error of this library's logger is one line of the log, and printed nowhere else."""
    logger, handler = logging.getLogger(library), _Complaints(library, log)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


class _Complaints(logging.Handler):
    def __init__(self, library: str, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._library, self._log = library, log

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # a complaint that cannot be written is none of a request's business
            line = (record.getMessage().splitlines() or [""])[0][:_MOST]
            entry = {"time": round(record.created, 3), self._library: line}
            if record.exc_info and record.exc_info[1] is not None:
                entry["where"] = where_of(record.exc_info[1])
            self._log(entry)
