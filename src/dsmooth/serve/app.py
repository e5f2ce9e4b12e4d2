"""All faces behind one guard: the ASGI application."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from dsmooth.serve.desk import Desk
from dsmooth.serve.faces.base import Face
from dsmooth.serve.faces.known import FACES
from dsmooth.serve.guard import Guard, Log, to_stderr
from dsmooth.serve.settings import Settings

__all__ = ["gateway"]


def gateway(desk: Desk, settings: Settings, *, log: Log = to_stderr, **limits: Any) -> Starlette:
    """The application that answers every face; `app.state.faces` has them by name. limits: of the Guard."""
    faces: dict[str, Face] = {name: FACES.load(name)(desk) for name in FACES}
    routes: list[BaseRoute] = [route for face in faces.values() for route in face.routes()]
    guard = Middleware(
        Guard,
        metrics=desk.metrics,
        tracing=desk.tracing,
        private=settings.private,
        most_body=settings.most_body,
        log=log,
        **limits,
    )
    app = Starlette(routes=routes, middleware=[guard], exception_handlers={HTTPException: _unknown})
    app.router.redirect_slashes = False  # no answer names another address
    app.state.faces = faces
    return app


async def _unknown(request: Request, error: Exception) -> Response:
    """An address or method that no face has."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    said = "method not allowed here" if status == 405 else "no such address: docs/guide/gateway.md lists them"
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return JSONResponse({"error": said}, status, headers)
