"""Clarifai's PostModelOutputs over HTTP, in the JSON that Clarifai's clients speak."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dsmooth.serve.answers import Answer
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Request
from dsmooth.serve.faces.asking import ask_all
from dsmooth.serve.faces.base import Face, bearer, bytes_of, json_body, typed
from dsmooth.serve.refusals import Refused
from dsmooth.serve.served import Served

__all__ = ["MOST_IMAGES", "OK", "ClarifaiFace", "code_of", "concepts_of"]

MOST_IMAGES: Final = 16
OK: Final = {"code": 10000, "description": "Ok"}
_THROTTLED: Final = 11005
_BAD_IMAGE, _BAD_REQUEST, _FAILED = 30002, 11102, 99009
_CODES: Final = {
    "unauthenticated": 11001,
    "overloaded": _THROTTLED,
    "quota": _THROTTLED,
    "full": _THROTTLED,
    "bad_image": _BAD_IMAGE,
}


class ClarifaiFace(Face):
    """POST /v2/.../models/{model}/outputs; pictures in inputs[].data.image.base64."""

    name: ClassVar[str] = "clarifai"

    def routes(self) -> list[Route]:
        owner, model = "/v2/users/{user}/apps/{app}", "/models/{model}"
        paths = [f"{place}{model}{version}" for place in (owner, "/v2") for version in ("", "/versions/{version}")]
        return [self.route(f"{path}/outputs", "POST", self._outputs) for path in paths]

    def key(self, request: HttpRequest) -> str | None:
        return bearer(request, "Key") or bearer(request, "Bearer")

    def refused(self, refusal: Refused) -> Response:
        status = {"code": code_of(refusal), "description": str(refusal)}
        return JSONResponse({"status": status}, refusal.status, refusal.headers)

    async def _outputs(self, request: HttpRequest, caller: Caller) -> Response:
        inputs = typed((await json_body(request)).get("inputs"), list, "inputs")
        if not 1 <= len(inputs) <= MOST_IMAGES:
            raise Refused("bad_request", f"expected 1 to {MOST_IMAGES} inputs, got {len(inputs)}")
        pictures = [_picture(each) for each in inputs]
        served = self.desk.model()
        question = served.question({})
        answers = await ask_all(self.desk.ask, [Request(served, question, picture, caller) for picture in pictures])
        headers = answers[0].headers if len(answers) == 1 else {}
        outputs = [_output(answer, served) for answer in answers]
        return JSONResponse({"status": OK, "outputs": outputs}, headers=headers)


def _picture(asked: object) -> bytes:
    data = typed(typed(asked, dict, "an input").get("data"), dict, "data")
    image = typed(data.get("image"), dict, "image")
    if image.get("url"):
        raise Refused("bad_request", "pictures are not fetched from addresses: send them as base64")
    return bytes_of(image.get("base64"), "base64")


def _output(answer: Answer, served: Served) -> dict[str, Any]:
    model = {"id": served.name, "model_version": {"id": served.version}}
    return {"status": OK, "model": model, "data": {"concepts": concepts_of(answer)}}


def concepts_of(answer: Answer) -> list[dict[str, Any]]:
    """The certified label as a concept; none for an abstention."""
    if answer.name is None:
        return []
    return [{"id": answer.name, "name": answer.name, "value": float(answer.least_probability)}]


def code_of(refusal: Refused) -> int:
    """Clarifai's number for it."""
    return _CODES.get(refusal.reason, _BAD_REQUEST if refusal.status < 500 else _FAILED)
