"""gRPC services by name."""

from __future__ import annotations

from typing import Final

from dsmooth.registry import Registry

__all__ = ["SERVICES"]

SERVICES: Final = Registry(
    "gRPC service",
    {
        "inference-grpc": "dsmooth.serve.rpc.inference:InferenceService",
        "clarifai-grpc": "dsmooth.serve.rpc.clarifai:ClarifaiService",
    },
)
