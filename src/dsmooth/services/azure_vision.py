"""`azure:image-analysis`: Azure AI Vision 4.0 tags through azure-ai-vision-imageanalysis (extra `azure`)."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from dsmooth.errors import BadModel, require
from dsmooth.services.connections import session
from dsmooth.services.provider import Provider, QueryFailed, Reply, Terms, credential, failed_with, is_address, reply_of

__all__ = ["AzureVision"]


class AzureVision(Provider):
    """Address in VISION_ENDPOINT (or `--endpoint`), key in VISION_KEY."""

    terms: ClassVar[Terms] = Terms(1.00, 20.0, least_side=50, most_bytes=20_000_000, checked="2026-11-21")
    name = "azure:image-analysis"

    def __init__(self, spec: str, *, endpoint: str | None, wire: Any, concurrency: int, time_limit: float) -> None:
        analysis = require("azure.ai.vision.imageanalysis", "azure")
        models = require("azure.ai.vision.imageanalysis.models", "azure")
        core = require("azure.core", "azure")
        self._exceptions = require("azure.core.exceptions", "azure")
        endpoint = endpoint or os.environ.get("VISION_ENDPOINT")
        key = credential("VISION_KEY")
        if not endpoint or not is_address(endpoint) or not key:
            raise BadModel(
                "azure:image-analysis needs the variables VISION_ENDPOINT (https://HOST, or --endpoint) and VISION_KEY"
            )
        self.secrets = [key]
        self._session = session("azure", concurrency)
        self._tags = [models.VisualFeatures.TAGS]
        self._client = analysis.ImageAnalysisClient(
            endpoint=endpoint,
            credential=core.credentials.AzureKeyCredential(key),
            transport=core.pipeline.transport.RequestsTransport(session=self._session, session_owner=False),
            retry_total=0,
            connection_timeout=time_limit,
            read_timeout=time_limit,
        )

    def ask(self, png: bytes) -> Any:
        try:
            return self._client.analyze(image_data=png, visual_features=self._tags).as_dict()
        except self._exceptions.DecodeError as error:
            raise QueryFailed("broken JSON") from error
        except self._exceptions.HttpResponseError as error:
            headers = getattr(error.response, "headers", {})
            code = getattr(error.error, "code", None) or error.reason or type(error).__name__
            raise failed_with(error.status_code, str(code), headers.get("Retry-After")) from error
        except self._exceptions.AzureError as error:
            raise QueryFailed(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._client.close()
        self._session.close()

    @staticmethod
    def read(raw: Any, wire: Any) -> Reply:
        tags = [(tag["name"], tag["confidence"]) for tag in raw["tagsResult"]["values"]]
        return reply_of(tags, raw["modelVersion"])
