"""Faces by name."""

from __future__ import annotations

from typing import Final

from dsmooth.registry import Registry

__all__ = ["FACES"]

FACES: Final = Registry(
    "face",
    {
        "page": "dsmooth.serve.faces.page:Page",
        "own": "dsmooth.serve.faces.own:Own",
        "inference": "dsmooth.serve.faces.inference:Inference",
        "aws": "dsmooth.serve.faces.rekognition:RekognitionFace",
        "google": "dsmooth.serve.faces.google_vision:GoogleVisionFace",
        "azure": "dsmooth.serve.faces.azure_vision:AzureVisionFace",
        "clarifai": "dsmooth.serve.faces.clarifai:ClarifaiFace",
    },
)
