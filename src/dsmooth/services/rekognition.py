"""`aws:rekognition`: Amazon Rekognition DetectLabels through boto3 (extra `aws`)."""

from __future__ import annotations

from typing import Any, ClassVar

from dsmooth.errors import BadModel, require
from dsmooth.services.connections import guarded
from dsmooth.services.provider import Provider, QueryFailed, Reply, Terms, failed_with, reply_of

__all__ = ["Rekognition"]

_THROTTLED = ("ThrottlingException", "ProvisionedThroughputExceededException", "LimitExceededException")
_NO_ACCESS = ("AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException")
_MOST_LABELS = 50


class Rekognition(Provider):
    """Credentials and region as boto3 finds them (AWS_ACCESS_KEY_ID, AWS_REGION, ~/.aws, ...)."""

    terms: ClassVar[Terms] = Terms(1.00, 5.0, least_side=80, most_bytes=5_000_000, checked="2026-11-21")
    name = "aws:rekognition"

    def __init__(self, spec: str, *, endpoint: str | None, wire: Any, concurrency: int, time_limit: float) -> None:
        boto3 = require("boto3", "aws")
        self._exceptions = require("botocore.exceptions", "aws")
        config = require("botocore.config", "aws").Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=concurrency,
            connect_timeout=time_limit,
            read_timeout=time_limit,
        )
        session = boto3.Session()
        credentials = session.get_credentials()
        if credentials is None:
            raise BadModel("aws:rekognition needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        frozen = credentials.get_frozen_credentials()
        self.secrets = [text for text in (frozen.access_key, frozen.secret_key, frozen.token) if text]
        try:
            self._client = session.client("rekognition", endpoint_url=endpoint, config=config)
        except (self._exceptions.BotoCoreError, ValueError) as error:
            raise BadModel(f"aws:rekognition cannot be set up: {error}") from error
        # its managers share this dict, and there is no public way to say what connections they make
        pools = self._client._endpoint.http_session._pool_classes_by_scheme
        pools.update({scheme: guarded(pool) for scheme, pool in pools.items()})

    def ask(self, png: bytes) -> Any:
        try:
            answer = self._client.detect_labels(Image={"Bytes": png}, MaxLabels=_MOST_LABELS, MinConfidence=0)
        except self._exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            status = error.response["ResponseMetadata"].get("HTTPStatusCode")
            headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
            if code in _THROTTLED:
                status = 429  # on this wire throttling is a 400
            elif code in _NO_ACCESS:
                status = 403
            raise failed_with(status, code, headers.get("retry-after")) from error
        except self._exceptions.BotoCoreError as error:
            if isinstance(error.__context__, QueryFailed):
                raise error.__context__ from None
            raise QueryFailed(f"{type(error).__name__}: {error}") from error
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

    def close(self) -> None:
        self._client.close()

    @staticmethod
    def read(raw: Any, wire: Any) -> Reply:
        # botocore turns a truncated body into an answer without any field: only one with both fields is an answer
        tags = [(label["Name"], label["Confidence"] / 100.0) for label in raw["Labels"]]
        return reply_of(tags, raw["LabelModelVersion"])
