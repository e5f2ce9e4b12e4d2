"""Several pictures in one request: asked side by side, answered together or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from dsmooth.serve.desk import Request

__all__ = ["ask_all"]

_T = TypeVar("_T")


async def ask_all(ask: Callable[[Request], Awaitable[_T]], requests: Sequence[Request]) -> list[_T]:
    """What `ask` says to each, in order; raises the first refusal, and cancels the others then."""
    tasks = [asyncio.ensure_future(ask(request)) for request in requests]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
