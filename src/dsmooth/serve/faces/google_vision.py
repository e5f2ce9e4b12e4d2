"""Google Cloud Vision's images:annotate with label detection, as google-cloud-vision speaks it over REST."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dsmooth.serve.answers import Answer
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Request
from dsmooth.serve.faces.asking import ask_all
from dsmooth.serve.faces.base import Face, bytes_of, json_body, typed
from dsmooth.serve.refusals import Refused

__all__ = ["GoogleVisionFace"]

_MOST_IMAGES: Final = 16
_LABELS: Final = (4, "LABEL_DETECTION")
_STATUS: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT", 415: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_BAD_IMAGE: Final = 3  # INVALID_ARGUMENT, of one picture among several


class GoogleVisionFace(Face):
    """POST /v1/images:annotate; pictures in requests[].image.content."""

    name: ClassVar[str] = "google"

    def routes(self) -> list[Route]:
        return [self.route("/v1/images:annotate", "POST", self._annotate)]

    def key(self, request: HttpRequest) -> str | None:
        return request.headers.get("x-goog-api-key") or request.query_params.get("key") or super().key(request)

    def refused(self, refusal: Refused) -> Response:
        status = _STATUS.get(refusal.status, "UNKNOWN")
        value = {"error": {"code": refusal.status, "message": str(refusal), "status": status}}
        return JSONResponse(value, refusal.status, refusal.headers)

    async def _annotate(self, request: HttpRequest, caller: Caller) -> Response:
        asked = typed((await json_body(request)).get("requests"), list, "requests")
        if not 1 <= len(asked) <= _MOST_IMAGES:
            raise Refused("bad_request", f"expected 1 to {_MOST_IMAGES} requests, got {len(asked)}")
        pictures = [_picture(each) for each in asked]
        served = self.desk.model()
        question = served.question({})
        answers = await ask_all(self._one, [Request(served, question, picture, caller) for picture in pictures])
        headers = answers[0].headers if len(answers) == 1 and isinstance(answers[0], Answer) else {}
        return JSONResponse({"responses": [_response(answer) for answer in answers]}, headers=headers)

    async def _one(self, request: Request) -> Answer | Refused:
        """The answer, or that the picture cannot be read; raises any other refusal."""
        try:
            return await self.desk.ask(request)
        except Refused as refusal:
            if refusal.reason != "bad_image":
                raise
            return refusal


def _picture(asked: object) -> bytes:
    request = typed(asked, dict, "a request")
    image = typed(request.get("image"), dict, "image")
    if "source" in image:
        raise Refused("bad_request", "pictures are not fetched from addresses: send them as image.content")
    for feature in typed(request.get("features"), list, "features"):
        if typed(feature, dict, "a feature").get("type", feature.get("type_")) not in _LABELS:
            raise Refused("bad_request", "expected the feature LABEL_DETECTION alone")
    return bytes_of(image.get("content"), "image.content")


def _response(answer: Answer | Refused) -> dict[str, Any]:
    if isinstance(answer, Refused):
        return {"error": {"code": _BAD_IMAGE, "message": str(answer)}}
    if answer.name is None:
        return {}
    score = float(answer.least_probability)
    return {"labelAnnotations": [{"mid": "", "description": answer.name, "score": score, "topicality": score}]}
