"""Names -> adapters and terms. The one place with prices and limits, and their date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from dsmooth.errors import BadModel, BadParameter
from dsmooth.services.provider import Provider, Reply

__all__ = ["CHECKED", "FORMS", "Terms", "connect", "is_service", "reader", "terms_of"]

CHECKED: Final = "2026-11-21"
"""When the terms below were read off the providers' pages."""

FORMS: Final = "aws:rekognition, google:vision, azure:image-analysis, clarifai:MODEL, http://..."


@dataclass(frozen=True, slots=True)
class Terms:
    """What a provider charges and accepts."""

    price: float | None
    """List price in dollars per 1,000 queries, without discounts and free tiers; None where nobody says."""
    rate: float | None
    """Queries a second that a new account may send, or None."""
    least_side: int = 1
    """Pixels: smaller images are upscaled."""
    most_bytes: int | None = None
    """Bytes of an image file."""


_TERMS: Final = {
    "aws:rekognition": Terms(1.00, 5.0, 80, 5_000_000),
    "google:vision": Terms(1.50, 30.0, 1, 7_500_000),  # 10 MB of JSON hold 7.5 MB in base64
    "azure:image-analysis": Terms(1.00, 20.0, 50, 20_000_000),
    "clarifai": Terms(1.20, 15.0),
    "http": Terms(None, None),
}


def is_service(spec: str) -> bool:
    """Whether a classifier's name stands for a service."""
    return spec.partition(":")[0] in ("aws", "google", "azure", "clarifai", "http", "https")


def terms_of(spec: str) -> Terms:
    """The terms of a service; raises BadModel for a name that stands for none."""
    scheme = spec.partition(":")[0]
    terms = _TERMS.get({"https": "http"}.get(scheme, scheme)) or _TERMS.get(spec)
    if terms is None or spec == "clarifai:":
        raise BadModel(f"expected a service as {FORMS}, got {spec!r}")
    return terms


def connect(
    spec: str, *, endpoint: str | None = None, wire: Any = None, concurrency: int = 32, time_limit: float = 10.0
) -> Provider:
    """The adapter of a service, with credentials from its environment variables; sends nothing.

    Raises BadModel for an unknown name, a wrong address or missing credentials, MissingPackage without the SDK.
    """
    terms_of(spec)
    http = spec.startswith(("http:", "https:"))
    if wire is not None and not http:
        raise BadParameter(f"--wire describes the JSON of an http:// model; {spec} has its own")
    if endpoint is not None and (http or not endpoint.startswith(("http://", "https://"))):
        expected = "no --endpoint beside an http:// model" if http else "--endpoint as http://HOST:PORT"
        raise BadParameter(f"expected {expected}, got {endpoint.partition('?')[0]!r}")
    options: dict[str, Any] = {"concurrency": concurrency, "time_limit": time_limit}
    if http:
        from dsmooth.services.http import HttpModel

        return HttpModel(spec, wire, **options)
    if spec == "aws:rekognition":
        from dsmooth.services.rekognition import Rekognition

        return Rekognition(endpoint, **options)
    if spec == "google:vision":
        from dsmooth.services.google_vision import GoogleVision

        return GoogleVision(endpoint, **options)
    if spec == "azure:image-analysis":
        from dsmooth.services.azure_vision import AzureVision

        return AzureVision(endpoint, **options)
    from dsmooth.services.clarifai import Clarifai

    return Clarifai(spec.partition(":")[2], endpoint, **options)


def reader(name: str, wire: Any) -> Callable[[Any], Reply]:
    """What reads the logged answers of a service; needs neither its SDK nor a key."""
    terms_of(name)
    from dsmooth.services.azure_vision import AzureVision
    from dsmooth.services.clarifai import Clarifai
    from dsmooth.services.google_vision import GoogleVision
    from dsmooth.services.http import read_wire
    from dsmooth.services.rekognition import Rekognition

    readers: dict[str, Callable[[Any], Reply]] = {
        "aws": Rekognition.read,
        "google": GoogleVision.read,
        "azure": AzureVision.read,
        "clarifai": Clarifai.read,
    }
    return readers.get(name.partition(":")[0]) or partial(read_wire, wire)
