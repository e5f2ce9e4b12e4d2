"""`clarifai:MODEL`: Clarifai's models, such as general-image-recognition, through clarifai-grpc (extra `clarifai`)."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from dsmooth.errors import BadModel, require
from dsmooth.services.provider import Provider, QueryFailed, Reply, Terms, credential, failed_with, reply_of

__all__ = ["Clarifai"]

_SUCCESS, _THROTTLED = 10000, (11005, 11006, 11007)
_WRONG_KEY = range(11000, 11005)
_ADDRESS, _MOST_CONCEPTS = "api.clarifai.com", 50
_UNAUTHENTICATED, _PERMISSION = 16, 7


class Clarifai(Provider):
    """Key in CLARIFAI_PAT; CLARIFAI_USER_ID and CLARIFAI_APP_ID where the model is not Clarifai's own."""

    terms: ClassVar[Terms] = Terms(1.20, 15.0, checked="2026-11-21")

    def __init__(self, spec: str, *, endpoint: str | None, wire: Any, concurrency: int, time_limit: float) -> None:
        self.name = spec
        grpc = self._grpc = require("grpc", "clarifai")
        channels = require("clarifai_grpc.channel.clarifai_channel", "clarifai").ClarifaiChannel
        self._messages = require("clarifai_grpc.grpc.api.service_pb2", "clarifai")
        self._resources = require("clarifai_grpc.grpc.api.resources_pb2", "clarifai")
        stubs = require("clarifai_grpc.grpc.api.service_pb2_grpc", "clarifai")
        self._to_dict = require("google.protobuf.json_format", "clarifai").MessageToDict
        key = credential("CLARIFAI_PAT")
        if not key:
            raise BadModel(f"{self.name} needs a personal access token in the variable CLARIFAI_PAT")
        self.secrets = [key]
        self._metadata, self._time_limit = (("authorization", f"Key {key}"),), time_limit
        channels.get_grpc_channel().close()  # importing the stub needs it once; its own channels retry behind our back
        options = [("grpc.enable_retries", 0)]
        scheme, _, address = (endpoint or f"https://{_ADDRESS}").rpartition("://")
        if scheme == "http":
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
        self._stub = stubs.V2Stub(self._channel)
        self._model = spec.removeprefix("clarifai:")
        self._owner = self._resources.UserAppIDSet(
            user_id=os.environ.get("CLARIFAI_USER_ID", "clarifai"), app_id=os.environ.get("CLARIFAI_APP_ID", "main")
        )

    @classmethod
    def serves(cls, spec: str) -> bool:
        return spec != "clarifai:"

    def ask(self, png: bytes) -> Any:
        resources = self._resources
        output = resources.OutputInfo(output_config=resources.OutputConfig(max_concepts=_MOST_CONCEPTS))
        request = self._messages.PostModelOutputsRequest(
            user_app_id=self._owner,
            model_id=self._model,
            inputs=[resources.Input(data=resources.Data(image=resources.Image(base64=png)))],
            model=resources.Model(model_version=resources.ModelVersion(output_info=output)),
        )
        try:
            answer = self._stub.PostModelOutputs(request, metadata=self._metadata, timeout=self._time_limit)
        except self._grpc.RpcError as error:
            code = error.code()
            status = 401 if code.value[0] in (_UNAUTHENTICATED, _PERMISSION) else None
            raise failed_with(status, f"{code.name}: {error.details()}") from error
        self._check(answer.status)
        if len(answer.outputs) != 1:
            raise QueryFailed(f"expected one output, got {len(answer.outputs)}")
        self._check(answer.outputs[0].status)
        return self._to_dict(answer, preserving_proto_field_name=True)

    @staticmethod
    def _check(status: Any) -> None:
        """Raises QueryFailed unless the status says success: throttling, too, comes in an RPC that went well."""
        if status.code in _THROTTLED:
            raise failed_with(429, f"status {status.code} {status.description}")
        if status.code != _SUCCESS:
            wrong_key = status.code in _WRONG_KEY
            raise QueryFailed(f"status {status.code} {status.description}", retry=not wrong_key, fatal=wrong_key)

    def close(self) -> None:
        self._channel.close()

    @staticmethod
    def read(raw: Any, wire: Any) -> Reply:
        (output,) = raw["outputs"]
        tags = [(concept["name"], concept.get("value", 0.0)) for concept in output.get("data", {}).get("concepts", [])]
        return reply_of(tags, output.get("model", {}).get("model_version", {}).get("id") or None)
