"""Clarifai's PostModelOutputs over gRPC; messages and stubs are those of clarifai-grpc."""

from __future__ import annotations

from typing import Any, ClassVar

from dsmooth.errors import require
from dsmooth.serve.callers import Caller
from dsmooth.serve.desk import Request
from dsmooth.serve.faces.asking import ask_all
from dsmooth.serve.faces.clarifai import MOST_IMAGES, OK, code_of, concepts_of
from dsmooth.serve.refusals import Refused
from dsmooth.serve.rpc.base import Service

__all__ = ["ClarifaiService"]


class ClarifaiService(Service):
    """clarifai.api.V2: PostModelOutputs. A refusal is a status in a call that went well, as Clarifai's clients expect."""

    name: ClassVar[str] = "clarifai-grpc"

    def add(self, server: Any) -> None:
        channels = require("clarifai_grpc.channel.clarifai_channel", "grpc").ClarifaiChannel
        self._messages = require("clarifai_grpc.grpc.api.service_pb2", "grpc")
        self._resources = require("clarifai_grpc.grpc.api.resources_pb2", "grpc")
        self._status = require("clarifai_grpc.grpc.api.status.status_pb2", "grpc").Status
        stubs = require("clarifai_grpc.grpc.api.service_pb2_grpc", "grpc")
        channels.get_insecure_grpc_channel("127.0.0.1", 1).close()  # the generated code needs it once
        servicer = type("Calls", (stubs.V2Servicer,), {})()
        servicer.PostModelOutputs = self._outputs
        stubs.add_V2Servicer_to_server(servicer, server)

    async def _outputs(self, request: Any, context: Any) -> Any:
        async def work(caller: Caller) -> Any:
            if not 1 <= len(request.inputs) <= MOST_IMAGES:
                raise Refused("bad_request", f"expected 1 to {MOST_IMAGES} inputs, got {len(request.inputs)}")
            images = [each.data.image for each in request.inputs]
            if any(image.url for image in images):
                raise Refused("bad_request", "pictures are not fetched from addresses: send them as base64")
            served = self.desk.model()
            question = served.question({})
            answers = await ask_all(
                self.desk.ask, [Request(served, question, image.base64, caller) for image in images]
            )
            if len(answers) == 1:
                context.set_trailing_metadata([(name.lower(), value) for name, value in answers[0].headers.items()])
            resources, ok = self._resources, self._status(**OK)
            model = resources.Model(id=served.name, model_version=resources.ModelVersion(id=served.version))
            outputs = [
                resources.Output(
                    status=ok,
                    model=model,
                    data=resources.Data(concepts=[resources.Concept(**each) for each in concepts_of(answer)]),
                )
                for answer in answers
            ]
            return self._messages.MultiOutputResponse(status=ok, outputs=outputs)

        def refused(refusal: Refused) -> Any:
            return self._messages.MultiOutputResponse(
                status=self._status(code=code_of(refusal), description=str(refusal))
            )

        return await self.answered(context, "PostModelOutputs", work, refused=refused)
