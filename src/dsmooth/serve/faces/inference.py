"""The Open Inference Protocol, version 2, over HTTP, with Triton's extension for binary tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import dsmooth
from dsmooth.images.pixels import Pixels
from dsmooth.serve.answers import Answer
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Request
from dsmooth.serve.faces.asking import ask_all
from dsmooth.serve.faces.base import Face, bytes_of, parsed, typed
from dsmooth.serve.refusals import Refused
from dsmooth.serve.served import Served

__all__ = ["Inference"]

_LENGTH: Final = "inference-header-content-length"
_MOST_IMAGES: Final = 16
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
        ready = not self.desk.draining and all(served.ready for served in self.desk.models.values())
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def _model(self, request: HttpRequest, caller: Caller) -> Response:
        served = self._served(request)
        side = served.size
        outputs = [("label", "BYTES", [-1]), ("label_index", "INT64", [-1]), ("radius", "FP64", [-1])]
        if served.classes is not None:
            outputs.append(("votes", "INT64", [-1, served.classes]))
        outputs.append(("certificate", "BYTES", [-1]))
        return JSONResponse(
            {
                "name": served.name,
                "versions": [served.version],
                "platform": "dsmooth",
                "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, side, side, served.shape[2]]}],
                "outputs": [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in outputs],
            }
        )

    async def _model_ready(self, request: HttpRequest, caller: Caller) -> Response:
        served = self._served(request)
        ready = served.ready and not self.desk.draining
        return JSONResponse({"name": served.name, "ready": ready}, 200 if ready else 503)

    async def _infer(self, request: HttpRequest, caller: Caller) -> Response:
        served = self._served(request)
        asked, binary = _split(request.headers.get(_LENGTH), await request.body())
        told = typed(asked.get("parameters", {}), dict, "parameters")
        question = served.question({name: value for name, value in told.items() if name not in _OF_TENSORS})
        pictures = _pictures(asked, binary, served)
        answers = await ask_all(self.desk, [Request(served, question, picture, caller) for picture in pictures])
        outputs = _wanted(asked, _outputs(answers, served), told.get("binary_data_output") is True)
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


def _split(length: str | None, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the bytes of its tensors."""
    if length is None:
        return parsed(body), b""
    if not length.isdecimal() or int(length[:12]) > len(body):
        raise Refused("bad_request", f"expected {_LENGTH} as the number of bytes of the JSON, got {length[:20]!r}")
    size = int(length)
    return parsed(body[:size]), body[size:]


def _pictures(asked: Mapping[str, Any], binary: bytes, served: Served) -> Sequence[bytes | Pixels]:
    """The images of the one input; raises Refused."""
    inputs = typed(asked.get("inputs"), list, "inputs")
    if len(inputs) != 1 or typed(inputs[0], dict, "an input").get("name") != "image":
        raise Refused("bad_request", "expected one input, named image")
    tensor = inputs[0]
    shape = [typed(size, int, "a size of the shape") for size in typed(tensor.get("shape"), list, "shape")]
    if not shape or not 1 <= shape[0] <= _MOST_IMAGES:
        raise Refused("bad_request", f"expected a shape with 1 to {_MOST_IMAGES} images first, got {shape[:5]}")
    size = typed(tensor.get("parameters", {}), dict, "parameters of the input").get("binary_data_size")
    if size is not None and typed(size, int, "binary_data_size") != len(binary):
        raise Refused("bad_request", f"expected {len(binary)} bytes of binary data, got {size} announced")
    if size is None and binary:
        raise Refused("bad_request", "got bytes behind the JSON that no input names: set binary_data_size")
    if tensor.get("datatype") == "BYTES":
        if shape not in ([shape[0]], [shape[0], 1]):
            raise Refused("bad_request", f"expected BYTES of shape [{shape[0]}], got {shape[:5]}")
        files = _strings(binary) if size is not None else _texts(tensor.get("data"))
        if len(files) != shape[0]:
            raise Refused("bad_request", f"expected {shape[0]} image files, got {len(files)}")
        return files
    if tensor.get("datatype") != "UINT8":
        raise Refused("bad_request", "expected image as UINT8 pixels, or as BYTES of image files")
    if tuple(shape[1:]) != served.shape:
        raise Refused("bad_image", f"expected UINT8 of shape [-1, {str(list(served.shape))[1:-1]}], got {shape[:5]}")
    if size is not None:
        if size != int(np.prod(shape)):
            raise Refused("bad_request", f"expected {int(np.prod(shape))} bytes of pixels, got {size}")
        return list(np.frombuffer(binary, np.uint8).reshape(shape))
    return list(_numbers(tensor.get("data"), shape))


def _numbers(data: object, shape: Sequence[int]) -> Pixels:
    """The pixels of a JSON list, flat or nested as the shape is."""
    try:
        array = np.array(typed(data, list, "data"))
    except (OverflowError, ValueError):
        array = np.zeros(0)
    if array.dtype.kind not in "iu" or array.size != np.prod(shape) or array.min() < 0 or array.max() > 255:
        raise Refused("bad_image", f"expected {int(np.prod(shape))} whole numbers from 0 to 255 as data")
    return array.astype(np.uint8).reshape(shape)


def _texts(data: object) -> list[bytes]:
    """Image files in base64; a nested list of them is flat afterwards."""
    flat = typed(data, list, "data")
    flat = [item for part in flat for item in (part if isinstance(part, list) else [part])]
    return [bytes_of(item, "an image file") for item in flat[: _MOST_IMAGES + 1]]


def _strings(binary: bytes) -> list[bytes]:
    """BYTES elements: a length of four bytes, little-endian, before each."""
    found: list[bytes] = []
    at = 0
    while at < len(binary) and len(found) <= _MOST_IMAGES:
        end = at + 4 + int.from_bytes(binary[at : at + 4], "little")
        if at + 4 > len(binary) or end > len(binary):
            raise Refused(
                "bad_request", "expected BYTES as lengths of four bytes, each before its element; got too few"
            )
        found.append(binary[at + 4 : end])
        at = end
    return found


@dataclass
class _Output:
    """One tensor of the answer."""

    name: str
    kind: str
    shape: list[int]
    values: Sequence[Any]
    binary: bool = False

    @property
    def data(self) -> bytes:
        """Its bytes behind the JSON; none where it stands in the JSON."""
        if not self.binary:
            return b""
        if self.kind == "BYTES":
            elements = [str(value).encode() for value in self.values]
            return b"".join(len(element).to_bytes(4, "little") + element for element in elements)
        return np.array(self.values, "<i8" if self.kind == "INT64" else "<f8").tobytes()

    @property
    def told(self) -> dict[str, Any]:
        """What the JSON says of it."""
        head = {"name": self.name, "datatype": self.kind, "shape": self.shape}
        return (
            {**head, "parameters": {"binary_data_size": len(self.data)}}
            if self.binary
            else {**head, "data": self.values}
        )


def _outputs(answers: Sequence[Answer], served: Served) -> list[_Output]:
    many = len(answers)
    indices = [answer.answer if isinstance(answer.answer, int) else -1 for answer in answers]
    outputs = [
        _Output("label", "BYTES", [many], [answer.name or "" for answer in answers]),
        _Output("label_index", "INT64", [many], indices),
        _Output("radius", "FP64", [many], [float(answer.radius) for answer in answers]),
        _Output("certificate", "BYTES", [many], [answer.document.decode() for answer in answers]),
    ]
    if served.classes is not None:
        votes = [answer.votes.of(label) for answer in answers for label in range(served.classes)]
        outputs.insert(3, _Output("votes", "INT64", [many, served.classes], votes))
    return outputs


def _wanted(asked: Mapping[str, Any], outputs: list[_Output], binary: bool) -> list[_Output]:
    """The outputs that were asked for (all, where none are named), each as it was asked for."""
    for output in outputs:
        output.binary = binary
    if "outputs" not in asked:
        return outputs
    known, chosen = {output.name: output for output in outputs}, []
    for row in typed(asked["outputs"], list, "outputs"):
        name = typed(typed(row, dict, "an output").get("name"), str, "the name of an output")
        if name not in known:
            raise Refused("bad_request", f"expected outputs among {', '.join(known)}, got {name[:40]!r}")
        told = typed(row.get("parameters", {}), dict, "parameters of an output")
        known[name].binary = told.get("binary_data", binary) is True
        chosen.append(known.pop(name))
    return chosen
