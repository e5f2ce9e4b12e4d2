"""`google:vision`: Cloud Vision label detection through google-cloud-vision, over REST (extra `google`)."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from dsmooth.errors import BadModel, require
from dsmooth.services.connections import session
from dsmooth.services.provider import Provider, QueryFailed, Reply, Terms, credential, failed_with, reply_of

__all__ = ["GoogleVision"]

_LABEL_DETECTION = 4
_MOST_LABELS = 50
_GRPC_TO_HTTP = {3: 400, 4: 504, 7: 403, 8: 429, 13: 500, 14: 503, 16: 401}


class GoogleVision(Provider):
    """Key in GOOGLE_API_KEY, or the application default credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud)."""

    terms: ClassVar[Terms] = Terms(
        1.50, 30.0, most_bytes=7_500_000, checked="2026-11-21"
    )  # 10 MB of JSON hold 7.5 MB in base64
    name = "google:vision"

    def __init__(self, spec: str, *, endpoint: str | None, wire: Any, concurrency: int, time_limit: float) -> None:
        vision = require("google.cloud.vision", "google")
        self._core = require("google.api_core.exceptions", "google")
        auth = require("google.auth.exceptions", "google")
        options = require("google.api_core.client_options", "google").ClientOptions
        key = credential("GOOGLE_API_KEY")
        self.secrets = [key] if key else []
        self._time_limit = time_limit
        # nobody logs in to a server of one's own; the real one is never asked anonymously
        anonymous = endpoint is not None and not key and "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ
        credentials = require("google.auth.credentials", "google").AnonymousCredentials() if anonymous else None
        try:
            self._client = vision.ImageAnnotatorClient(
                transport="rest",
                credentials=credentials,
                client_options=options(api_endpoint=endpoint, api_key=key),
            )
        except (auth.GoogleAuthError, ValueError) as error:
            raise BadModel(f"google:vision cannot be set up: set GOOGLE_API_KEY ({error})") from error
        own = self._client.transport._session  # there is no public way to say what connections it makes
        session("google", concurrency, own)
        if own._auth_request_session is not None:  # fetches tokens, and shows credentials for them
            session("google", concurrency, own._auth_request_session)

    def ask(self, png: bytes) -> Any:
        features = [{"type_": _LABEL_DETECTION, "max_results": _MOST_LABELS}]
        try:
            answer = self._client.batch_annotate_images(
                requests=[{"image": {"content": png}, "features": features}], timeout=self._time_limit, retry=None
            )
        except self._core.GoogleAPICallError as error:
            headers = getattr(error.response, "headers", {})
            raise failed_with(error.code, type(error).__name__, headers.get("Retry-After")) from error
        except QueryFailed:
            raise
        except Exception as error:  # broken JSON and broken connections share no base below Exception
            raise QueryFailed(f"{type(error).__name__}: {error}") from error
        raw = type(answer).to_dict(answer, always_print_fields_with_no_presence=False)
        if problem := raw.get("responses", [{}])[0].get("error"):
            raise failed_with(_GRPC_TO_HTTP.get(problem.get("code")), str(problem.get("message", "error")))
        return raw

    def close(self) -> None:
        self._client.transport.close()

    @staticmethod
    def read(raw: Any, wire: Any) -> Reply:
        (answer,) = raw["responses"]
        # the proto leaves out a score of exactly 0
        tags = [(label["description"], label.get("score", 0.0)) for label in answer.get("label_annotations", [])]
        return reply_of(tags, None)
