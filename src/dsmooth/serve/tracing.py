"""Where the time of a request goes, told to whoever collects it: the contract, and that nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

__all__ = ["NO_TRACING", "Told", "Tracing"]

Told = Callable[[Mapping[str, Any]], None]
"""Called once, with what the log says of a request."""


class Tracing:
    """Nothing is traced. A subclass sends a span for each request, and one for each of its stages."""

    @contextmanager
    def request(self, carried: Mapping[str, str]) -> Iterator[Told]:
        """Around a request. `carried`: its headers, which may name the trace that it belongs to."""
        yield lambda entry: None

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """Around a part of the request that is being answered: decode, vote, record."""
        return nullcontext()

    def close(self) -> None:
        """What was traced is sent, as far as somebody takes it."""


NO_TRACING: Final = Tracing()
