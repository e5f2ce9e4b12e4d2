"""The Open Inference Protocol, version 2, over gRPC; messages and stubs are those of Triton's client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import dsmooth
from dsmooth.errors import require
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Request
from dsmooth.serve.faces.asking import ask_all
from dsmooth.serve.faces.inference import metadata, question_of
from dsmooth.serve.faces.tensors import outputs_of, pictures_of, wanted
from dsmooth.serve.refusals import Refused
from dsmooth.serve.rpc.base import Service
from dsmooth.serve.served import Served

__all__ = ["InferenceService"]


class InferenceService(Service):
    """inference.GRPCInferenceService: live, ready, metadata and ModelInfer, as over HTTP."""

    name: ClassVar[str] = "inference-grpc"

    def add(self, server: Any) -> None:
        self._messages = require("tritonclient.grpc.service_pb2", "grpc")
        stubs = require("tritonclient.grpc.service_pb2_grpc", "grpc")
        calls = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
        answers = (self._live, self._ready, self._model_ready, self._server, self._model, self._infer)
        # a class made of these functions: grpc looks for calls by their names
        kind = type("Calls", (stubs.GRPCInferenceServiceServicer,), {})
        servicer = kind()
        for call, answer in zip(calls, answers, strict=True):
            setattr(servicer, call, answer)
        stubs.add_GRPCInferenceServiceServicer_to_server(servicer, server)

    async def _live(self, request: Any, context: Any) -> Any:
        async def work(caller: Caller) -> Any:
            return self._messages.ServerLiveResponse(live=True)

        return await self.answered(context, "ServerLive", work, open_to_all=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        async def work(caller: Caller) -> Any:
            return self._messages.ServerReadyResponse(ready=self.desk.ready)

        return await self.answered(context, "ServerReady", work, open_to_all=True)

    async def _model_ready(self, request: Any, context: Any) -> Any:
        async def work(caller: Caller) -> Any:
            served = self._served(request.name, request.version)
            return self._messages.ModelReadyResponse(ready=served.ready and not self.desk.draining)

        return await self.answered(context, "ModelReady", work)

    async def _server(self, request: Any, context: Any) -> Any:
        async def work(caller: Caller) -> Any:
            return self._messages.ServerMetadataResponse(name="dsmooth", version=dsmooth.__version__)

        return await self.answered(context, "ServerMetadata", work, open_to_all=True)

    async def _model(self, request: Any, context: Any) -> Any:
        async def work(caller: Caller) -> Any:
            told = metadata(self._served(request.name, request.version))
            kind = self._messages.ModelMetadataResponse
            tensors = {
                name: [kind.TensorMetadata(**tensor) for tensor in told.pop(name)] for name in ("inputs", "outputs")
            }
            return kind(**told, **tensors)

        return await self.answered(context, "ModelMetadata", work)

    async def _infer(self, request: Any, context: Any) -> Any:
        async def work(caller: Caller) -> Any:
            served = self._served(request.model_name, request.model_version)
            question = question_of(served, _values(request.parameters))
            asked, binary = _as_over_http(request)
            pictures = pictures_of(asked, binary, served)
            answers = await ask_all(self.desk.ask, [Request(served, question, picture, caller) for picture in pictures])
            if request.outputs:
                asked["outputs"] = [{"name": output.name} for output in request.outputs]
            outputs = wanted(asked, outputs_of(answers, served), True)
            if len(answers) == 1:
                context.set_trailing_metadata([(name.lower(), value) for name, value in answers[0].headers.items()])
            tensor = self._messages.ModelInferResponse.InferOutputTensor
            return self._messages.ModelInferResponse(
                model_name=served.name,
                model_version=served.version,
                id=request.id,
                outputs=[tensor(name=each.name, datatype=each.kind, shape=each.shape) for each in outputs],
                raw_output_contents=[each.data for each in outputs],
            )

        return await self.answered(context, "ModelInfer", work)

    def _served(self, name: str, version: str) -> Served:
        served = self.desk.model(name)
        if version not in ("", served.version):
            raise Refused("not_found", f"expected version {served.version} of {served.name}, got another")
        return served


def _values(parameters: Mapping[str, Any]) -> dict[str, object]:
    """The parameters of a request as plain values."""
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for name, value in parameters.items()
    }


def _as_over_http(request: Any) -> tuple[dict[str, Any], bytes]:
    """The inputs as the HTTP protocol has them: tensors with their sizes, and the bytes behind."""
    if len(request.inputs) != 1 or len(request.raw_input_contents) > 1:
        raise Refused("bad_request", "expected one input, named image")
    (tensor,) = request.inputs
    if request.raw_input_contents:
        binary = request.raw_input_contents[0]
    elif tensor.datatype == "BYTES":
        binary = b"".join(len(item).to_bytes(4, "little") + item for item in tensor.contents.bytes_contents)
    else:
        if any(value > 255 for value in tensor.contents.uint_contents):
            raise Refused("bad_image", "expected pixels from 0 to 255")
        binary = bytes(tensor.contents.uint_contents)
    told = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    return {"inputs": [{**told, "parameters": {"binary_data_size": len(binary)}}]}, binary
