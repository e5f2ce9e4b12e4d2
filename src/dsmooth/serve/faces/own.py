"""The gateway's own face: raw image bodies in, JSON out; certificates to download; jobs with votes as they come."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import ClassVar

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Desk, Request
from dsmooth.serve.faces.base import Face
from dsmooth.serve.jobs import Job, Jobs
from dsmooth.serve.refusals import Refused

__all__ = ["Own"]

_JOB = "/v1/jobs/{id}"
_LONGEST_NAME = 128


class Own(Face):
    """POST an image to /v1/certify, /v1/predict or /v1/jobs; parameters of the question in the query."""

    name: ClassVar[str] = "own"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.jobs = Jobs(desk)

    def routes(self) -> list[Route]:
        return [
            self.route("/v1/models", "GET", self._models),
            self.route("/v1/certify", "POST", self._certify),
            self.route("/v1/predict", "POST", self._predict),
            self.route("/v1/certificates/{id}", "GET", self._certificate),
            self.route("/v1/jobs", "POST", self._begin),
            self.route(_JOB, "GET", self._job),
            self.route(_JOB, "DELETE", self._cancel),
            self.route(f"{_JOB}/events", "GET", self._events),
            self.route("/metrics", "GET", self._metrics),
        ]

    def refused(self, refusal: Refused) -> Response:
        return JSONResponse({"error": str(refusal), "reason": refusal.reason}, refusal.status, refusal.headers)

    async def _models(self, request: HttpRequest, caller: Caller) -> Response:
        told = [
            {
                "name": name,
                "classifier": served.smoothed.classifier.name,
                "size": served.size,
                "noise": str(served.smoothed.law),
                "question": {
                    k: v for k, v in served.question({}).to_json().items() if k in ("n0", "n", "alpha", "mode")
                },
                "most_votes": served.limits.most_votes,
            }
            for name, served in self.desk.models.items()
        ]
        return JSONResponse({"models": told})

    async def _certify(self, request: HttpRequest, caller: Caller) -> Response:
        return await self._answered(request, await self._asked(request, caller))

    async def _predict(self, request: HttpRequest, caller: Caller) -> Response:
        return await self._answered(request, await self._asked(request, caller, predict=True))

    async def _answered(self, request: HttpRequest, asked: Request) -> Response:
        """The answer; with an Idempotency-Key the votes go on when the client leaves, and the same request finds them."""
        once = _once(request)
        answer = await (self.desk.ask(asked) if once is None else self.jobs.begin(asked, once).answered())
        return JSONResponse(answer.value(), headers=answer.headers)

    async def _certificate(self, request: HttpRequest, caller: Caller) -> Response:
        document = await self.desk.document(caller, request.path_params["id"])
        return Response(document, media_type="application/json")

    async def _begin(self, request: HttpRequest, caller: Caller) -> Response:
        job = self.jobs.begin(await self._asked(request, caller, job=True), _once(request))
        return JSONResponse(job.value(), 202, {"Location": f"/v1/jobs/{job.id}"})

    async def _job(self, request: HttpRequest, caller: Caller) -> Response:
        job = self._job_of(request, caller)
        return JSONResponse(job.value(), headers={} if job.answer is None else job.answer.headers)

    async def _cancel(self, request: HttpRequest, caller: Caller) -> Response:
        job = self._job_of(request, caller)
        if job.task is not None:
            job.task.cancel()
        return Response(status_code=204)

    async def _events(self, request: HttpRequest, caller: Caller) -> Response:
        return StreamingResponse(_stream(self._job_of(request, caller)), media_type="text/event-stream")

    async def _metrics(self, request: HttpRequest, caller: Caller) -> Response:
        return Response(self.desk.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _job_of(self, request: HttpRequest, caller: Caller) -> Job:
        return self.jobs.get(caller.name, request.path_params["id"])

    async def _asked(
        self, request: HttpRequest, caller: Caller, *, job: bool = False, predict: bool = False
    ) -> Request:
        """The image and the question; raises Refused for a parameter that comes twice, or is none."""
        given = dict(request.query_params)
        if len(given) != len(request.query_params.multi_items()):
            raise Refused("bad_request", "expected each parameter once, got one twice")
        served = self.desk.model(given.pop("model", None))
        deadline = served.seconds(given.pop("deadline")) if "deadline" in given and not job else None
        question = served.prediction(given) if predict else served.question(given, job=job)
        picture = await request.body()
        if not picture:
            raise Refused("bad_image", "expected an image file as the body, got none")
        return Request(served, question, picture, caller, job, predict, deadline)


def _once(request: HttpRequest) -> str | None:
    """The client's own name for what it asks; raises Refused for one that is none."""
    once = request.headers.get("idempotency-key")
    if once is not None and not 1 <= len(once) <= _LONGEST_NAME:
        raise Refused("bad_request", f"expected an Idempotency-Key of 1 to {_LONGEST_NAME} characters")
    return once


async def _stream(job: Job) -> AsyncIterator[str]:
    """The job's events as text/event-stream; a comment where there is nothing to say, so that the connection stays."""
    async for event in job.events():
        yield ": nothing new\n\n" if event is None else f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n"
