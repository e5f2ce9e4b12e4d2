"""Azure AI Vision's Image Analysis 4.0 with the feature tags, as azure-ai-vision-imageanalysis speaks it."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Request
from dsmooth.serve.faces.base import Face
from dsmooth.serve.refusals import Refused

__all__ = ["AzureVisionFace"]

_CODES: Final = {
    400: "InvalidRequest", 401: "401", 403: "403", 404: "404", 408: "Timeout", 413: "InvalidRequest", 415: "InvalidRequest",
    429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


class AzureVisionFace(Face):
    """POST /computervision/imageanalysis:analyze?features=tags with the picture as the body."""

    name: ClassVar[str] = "azure"

    def routes(self) -> list[Route]:
        return [self.route("/computervision/imageanalysis:analyze", "POST", self._analyze)]

    def key(self, request: HttpRequest) -> str | None:
        return request.headers.get("ocp-apim-subscription-key")

    def refused(self, refusal: Refused) -> Response:
        code = "InvalidImage" if refusal.reason == "bad_image" else _CODES.get(refusal.status, "InternalServerError")
        return JSONResponse({"error": {"code": code, "message": str(refusal)}}, refusal.status, refusal.headers)

    async def _analyze(self, request: HttpRequest, caller: Caller) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
            raise Refused(
                "bad_request", "pictures are not fetched from addresses: send them as application/octet-stream"
            )
        if request.query_params.get("features", "").lower() != "tags":
            raise Refused("bad_request", "expected features=tags alone")
        served = self.desk.model()
        answer = await self.desk.ask(Request(served, served.question({}), await request.body(), caller))
        tags: list[dict[str, Any]] = []
        if answer.name is not None:
            tags = [{"name": answer.name, "confidence": float(answer.least_probability)}]
        value = {
            "modelVersion": served.version,
            "metadata": {"width": served.size, "height": served.size},
            "tagsResult": {"values": tags},
        }
        return JSONResponse(value, headers=answer.headers)
