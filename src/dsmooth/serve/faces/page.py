"""The page at /, for people who do not know the theory, and what it asks for beside certificates."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dsmooth.errors import BadInput, Disproved, DsmoothError
from dsmooth.images.decoding import read_image
from dsmooth.images.sets import LabelledImage, image_set
from dsmooth.records.certificate_file import parse_certificate
from dsmooth.runs.verify import Outcome, evidence_of, verify_evidence
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Desk, Request, decoded
from dsmooth.serve.faces.base import Face, bytes_of, json_body
from dsmooth.serve.refusals import Refused, refusal_of
from dsmooth.serve.showing import Shows, png

__all__ = ["Page"]

_FOLDER: Final = Path(__file__).parent.parent / "page"
_FILES: Final = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_RADIUS: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,12})?", re.ASCII)
_MOST_VOTES: Final = 1_000_000
_VOTES: Final = 100  # on an attacked picture
_MOST_WAITING: Final = 4
_T = TypeVar("_T")


class Page(Face):
    """GET / and /v1/samples; POST /v1/show, /v1/attack and /v1/verify."""

    name: ClassVar[str] = "page"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._busy = 0
        self._shows: dict[str, Shows] = {}

    def routes(self) -> list[Route]:
        pages = [self.route(path, "GET", self._file, open_to_all=True) for path in _FILES]
        return [
            *pages,
            self.route("/openapi.json", "GET", self._openapi, open_to_all=True),
            self.route("/v1/samples", "GET", self._samples),
            self.route("/v1/samples/{number}", "GET", self._sample),
            self.route("/v1/show", "POST", self._show),
            self.route("/v1/attack", "POST", self._attack),
            self.route("/v1/verify", "POST", self._verify),
        ]

    def refused(self, refusal: Refused) -> Response:
        return JSONResponse({"error": str(refusal), "reason": refusal.reason}, refusal.status, refusal.headers)

    async def _file(self, request: HttpRequest, caller: Caller) -> Response:
        path = _FOLDER / _FILES[request.url.path]
        headers = {"Content-Security-Policy": _POLICY}
        return Response(path.read_bytes(), headers=headers, media_type=_KINDS[path.suffix])

    async def _samples(self, request: HttpRequest, caller: Caller) -> Response:
        return JSONResponse({"names": list(self.desk.samples)})

    async def _sample(self, request: HttpRequest, caller: Caller) -> Response:
        pictures = {str(i): picture for i, picture in enumerate(self.desk.samples.values())}
        if (number := request.path_params["number"]) not in pictures:
            raise Refused("not_found", f"expected one of {len(pictures)} pictures, by its number from 0")
        return Response(pictures[number], media_type="image/png")

    async def _openapi(self, request: HttpRequest, caller: Caller) -> Response:
        return Response((_FOLDER.parent / "openapi.json").read_bytes(), media_type="application/json")

    async def _show(self, request: HttpRequest, caller: Caller) -> Response:
        served = self.desk.model(request.query_params.get("model"))
        body = await request.body()

        def work() -> dict[str, Any]:
            shown = self._shown(served.name).show(decoded(body, served).pixels)
            return {
                "answer": served.named(shown.answer),
                "picture": _b64(shown.picture),
                "noisy": _b64(shown.noisy),
                "denoised": None if shown.denoised is None else _b64(shown.denoised),
                "sigma": f"{served.smoothed.law.level:g}",
                "attack": self.desk.allow_attack,
            }

        return JSONResponse(await self._worked(work))

    async def _attack(self, request: HttpRequest, caller: Caller) -> Response:
        if not self.desk.allow_attack:
            raise Refused(
                "forbidden", "attacks are disabled on this server: its operator can start it with --allow-attack"
            )
        served = self.desk.model(request.query_params.get("model"))
        body, text = await request.body(), request.query_params.get("radius", "")
        if not _RADIUS.fullmatch(text):
            raise Refused("bad_request", f"expected radius as a decimal number, got {text[:40]!r}")
        attacked = await self._worked(
            lambda: self._shown(served.name).attack(decoded(body, served).pixels, Fraction(text))
        )
        question = served.prediction({} if served.exact else {"n": _VOTES})
        answer = await self.desk.ask(Request(served, question, attacked.pixels, caller, predict=True))
        return JSONResponse(
            {
                "distance": attacked.distance,
                "before": served.named(attacked.before),
                "after": served.named(attacked.after),
                "smoothed": answer.name,
                "picture": _b64(png(attacked.pixels)),
                "difference": _b64(attacked.difference),
                "magnified": attacked.magnified,
            }
        )

    async def _verify(self, request: HttpRequest, caller: Caller) -> Response:
        asked = await json_body(request)
        document = bytes_of(asked.get("certificate"), "certificate")
        picture = bytes_of(asked["picture"], "picture") if "picture" in asked else None
        return JSONResponse(await self._worked(lambda: _checked(document, picture)))

    def _shown(self, name: str) -> Shows:
        if name not in self._shows:
            self._shows[name] = Shows(self.desk.models[name])
        return self._shows[name]

    async def _worked(self, work: Callable[[], _T]) -> _T:
        """What it comes to, on the one thread for this; raises Refused where several wait already."""
        if self._busy >= _MOST_WAITING:
            raise Refused("full", "the server is busy with other pictures; try again in a moment", retry_after=3.0)
        self._busy += 1
        working = asyncio.get_running_loop().run_in_executor(self.desk.aside, work)
        working.add_done_callback(self._ended)
        try:
            return await asyncio.shield(working)  # who leaves does not make room for more: the thread is at work still
        except BadInput as error:
            raise Refused("bad_image", str(error)) from error
        except DsmoothError as error:
            raise refusal_of(error) from error

    def _ended(self, working: asyncio.Future[Any]) -> None:
        self._busy -= 1
        if not working.cancelled():
            working.exception()  # is heard of here, where nobody waits any more


def _checked(document: bytes, picture: bytes | None) -> dict[str, Any]:
    """What can be checked of a certificate without its networks; raises Refused for what is none."""
    try:
        one = parse_certificate(document)
    except Disproved as error:
        return {"holds": False, "checks": [{"what": "certificate", "outcome": "does not hold", "detail": str(error)}]}
    record = one.record
    if record.question.n0 + record.question.n > _MOST_VOTES:
        raise Refused("bad_request", f"expected at most {_MOST_VOTES:,} votes to check here: use dsmooth verify")
    images = None
    if picture is not None:
        image = _as_recorded(picture, record.shape, record.decoding)
        images = image_set([image.name], [None], [len(picture)], lambda i: image)
    checks = list(verify_evidence(evidence_of(one), images))
    told = [{"what": check.what, "outcome": check.outcome.value, "detail": check.detail} for check in checks]
    claim = {"answer": record.answer, "name": one.name, "radius": record.radius, "norm": f"{record.question.norm:g}"}
    return {"holds": all(check.outcome is not Outcome.FAILS for check in checks), "checks": told, "claim": claim}


def _as_recorded(picture: bytes, shape: tuple[int, int, int], decoding: Sequence[str]) -> LabelledImage:
    """The picture, cut as the record says."""
    cut = any(step.startswith("centre ") for step in decoding)
    return read_image(io.BytesIO(picture), name="image", channels=shape[2], size=shape[0] if cut else None)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
