"""Amazon Rekognition's DetectLabels, as boto3 speaks it (AWS JSON 1.1, Signature Version 4)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dsmooth.serve.callers import LOCAL, Caller
from dsmooth.serve.desk import Request
from dsmooth.serve.faces.base import Face, bytes_of, json_body, typed, whole_body
from dsmooth.serve.refusals import Refused
from dsmooth.serve.sigv4 import signed

__all__ = ["RekognitionFace"]

_TYPE: Final = "application/x-amz-json-1.1"
_CLIENT: Final = "InvalidParameterException"
_ERRORS: Final = {
    "bad_image": "InvalidImageFormatException",
    "too_large": "ImageTooLargeException",
    "unauthenticated": "UnrecognizedClientException",
    "forbidden": "AccessDeniedException",
    "overloaded": "ThrottlingException",
    "quota": "ThrottlingException",
    "full": "ProvisionedThroughputExceededException",
    "draining": "ProvisionedThroughputExceededException",
}
_SERVER: Final = "InternalServerError"


class RekognitionFace(Face):
    """POST / with X-Amz-Target: RekognitionService.DetectLabels; the picture in Image.Bytes."""

    name: ClassVar[str] = "aws"

    def routes(self) -> list[Route]:
        return [self.route("/", "POST", self._detect)]

    async def caller(self, request: HttpRequest) -> Caller:
        if not self.desk.callers.needed:
            return LOCAL
        told = signed(request.headers)  # before a stranger's body is taken
        return self.desk.callers.of_signature(told, request.headers, request.url.query, await whole_body(request))

    def refused(self, refusal: Refused) -> Response:
        kind = _ERRORS.get(refusal.reason, _CLIENT if refusal.status < 500 else _SERVER)
        headers = {**refusal.headers, "x-amzn-errortype": kind}
        value = {"__type": kind, "message": str(refusal)}
        return JSONResponse(value, 500 if kind == _SERVER else 400, headers, media_type=_TYPE)

    async def _detect(self, request: HttpRequest, caller: Caller) -> Response:
        target = request.headers.get("x-amz-target", "")
        if target != "RekognitionService.DetectLabels":
            raise Refused("bad_request", f"expected RekognitionService.DetectLabels, got {target[:60]!r}")
        asked = await json_body(request)
        image = typed(asked.get("Image"), dict, "Image")
        if "S3Object" in image:
            raise Refused("bad_request", "pictures are not fetched from S3: send them as Image.Bytes")
        if asked.get("Features", ["GENERAL_LABELS"]) != ["GENERAL_LABELS"]:
            raise Refused("bad_request", "expected the feature GENERAL_LABELS alone")
        served = self.desk.model()
        answer = await self.desk.ask(
            Request(served, served.question({}), bytes_of(image.get("Bytes"), "Image.Bytes"), caller)
        )
        labels: list[dict[str, Any]] = []
        if answer.name is not None:
            percent = float(100 * Decimal(answer.least_probability))
            parts: dict[str, Any] = {"Instances": [], "Parents": [], "Aliases": [], "Categories": []}
            labels = [{"Name": answer.name, "Confidence": percent, **parts}]
        headers = dict(answer.headers)
        if "MinConfidence" in asked:
            headers["Dsmooth-Min-Confidence"] = "not applied: a certified label counts, whatever its bound"
        return JSONResponse({"Labels": labels, "LabelModelVersion": served.version}, 200, headers, media_type=_TYPE)
