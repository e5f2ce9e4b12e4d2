"""Several pictures in one request: asked side by side, answered together or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dsmooth.serve.answers import Answer
from dsmooth.serve.desk import Desk, Request

__all__ = ["ask_all"]


async def ask_all(desk: Desk, requests: Sequence[Request]) -> list[Answer]:
    """The answers, in order; raises the first refusal, and cancels the others then."""
    tasks = [asyncio.ensure_future(desk.ask(request)) for request in requests]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
