"""The Open Inference Protocol, version 2, over HTTP, with Triton's extension for binary tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import dsmooth
from dsmooth.records.question import Question
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Request
from dsmooth.serve.faces.asking import ask_all
from dsmooth.serve.faces.base import Face, parsed, typed
from dsmooth.serve.faces.tensors import outputs_of, pictures_of, wanted
from dsmooth.serve.refusals import Refused
from dsmooth.serve.served import Served

__all__ = ["Inference", "metadata", "question_of"]

_LENGTH: Final = "inference-header-content-length"
_OF_TENSORS: Final = ("binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout")
"""Request parameters that are about the protocol, not the question."""


class Inference(Face):
    """`image` in (UINT8 of the classifier's size, or BYTES: image files); label, radius, votes and certificate out."""

    name: ClassVar[str] = "inference"

    def routes(self) -> list[Route]:
        routes = [
            self.route("/v2", "GET", self._server, open_to_all=True),
            self.route("/v2/health/live", "GET", self._live, open_to_all=True),
            self.route("/v2/health/ready", "GET", self._ready, open_to_all=True),
        ]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                self.route(model, "GET", self._model),
                self.route(f"{model}/ready", "GET", self._model_ready),
                self.route(f"{model}/infer", "POST", self._infer),
            ]
        return routes

    def refused(self, refusal: Refused) -> Response:
        return JSONResponse({"error": str(refusal)}, refusal.status, refusal.headers)

    async def _server(self, request: HttpRequest, caller: Caller) -> Response:
        return JSONResponse({"name": "dsmooth", "version": dsmooth.__version__, "extensions": ["binary_tensor_data"]})

    async def _live(self, request: HttpRequest, caller: Caller) -> Response:
        return JSONResponse({"live": True})

    async def _ready(self, request: HttpRequest, caller: Caller) -> Response:
        ready = self.desk.ready
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def _model(self, request: HttpRequest, caller: Caller) -> Response:
        return JSONResponse(metadata(self._served(request)))

    async def _model_ready(self, request: HttpRequest, caller: Caller) -> Response:
        served = self._served(request)
        ready = served.ready and not self.desk.draining
        return JSONResponse({"name": served.name, "ready": ready}, 200 if ready else 503)

    async def _infer(self, request: HttpRequest, caller: Caller) -> Response:
        served = self._served(request)
        asked, binary = _split(request.headers.get(_LENGTH), await request.body())
        told = typed(asked.get("parameters", {}), dict, "parameters")
        question = question_of(served, told)
        pictures = pictures_of(asked, binary, served)
        answers = await ask_all(self.desk.ask, [Request(served, question, picture, caller) for picture in pictures])
        outputs = wanted(asked, outputs_of(answers, served), told.get("binary_data_output") is True)
        value = {
            "model_name": served.name,
            "model_version": served.version,
            "outputs": [output.told for output in outputs],
        }
        if "id" in asked:
            value["id"] = typed(asked["id"], str, "id")
        headers = answers[0].headers if len(answers) == 1 else {}
        head, rest = json.dumps(value).encode(), b"".join(output.data for output in outputs)
        if not any(output.binary for output in outputs):
            return Response(head, headers=headers, media_type="application/json")
        headers[_LENGTH] = str(len(head))
        return Response(head + rest, headers=headers, media_type="application/octet-stream")

    def _served(self, request: HttpRequest) -> Served:
        served, version = self.desk.model(request.path_params["model"]), request.path_params.get("version")
        if version is not None and version != served.version:
            raise Refused("not_found", f"expected version {served.version} of {served.name}, got another")
        return served


def question_of(served: Served, parameters: Mapping[str, object]) -> Question:
    """The question that a request's parameters ask, but for those that are about the protocol."""
    return served.question({name: value for name, value in parameters.items() if name not in _OF_TENSORS})


def metadata(served: Served) -> dict[str, Any]:
    """What the protocol says of a model."""
    outputs = [("label", "BYTES", [-1]), ("label_index", "INT64", [-1]), ("radius", "FP64", [-1])]
    if served.classes is not None:
        outputs.append(("votes", "INT64", [-1, served.classes]))
    outputs.append(("certificate", "BYTES", [-1]))
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": "dsmooth",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, *served.shape]}],
        "outputs": [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in outputs],
    }


def _split(length: str | None, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the bytes of its tensors."""
    if length is None:
        return parsed(body), b""
    if not length.isdecimal() or int(length[:12]) > len(body):
        raise Refused("bad_request", f"expected {_LENGTH} as the number of bytes of the JSON, got {length[:20]!r}")
    size = int(length)
    return parsed(body[:size]), body[size:]
