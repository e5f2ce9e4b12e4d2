"""Services by name: their adapters and terms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from dsmooth.errors import BadModel, BadParameter
from dsmooth.registry import Registry
from dsmooth.services.provider import Provider, QueryFailed, Reply, Terms, is_address, may_hold_a_key

__all__ = ["SERVICES", "connect", "is_service", "reader", "terms_of"]

SERVICES: Final = Registry(
    "service",
    {
        "aws:rekognition": "dsmooth.services.rekognition:Rekognition",
        "google:vision": "dsmooth.services.google_vision:GoogleVision",
        "azure:image-analysis": "dsmooth.services.azure_vision:AzureVision",
        "clarifai:MODEL": "dsmooth.services.clarifai:Clarifai",
        "http://...": "dsmooth.services.http:HttpModel",
        "https://...": "dsmooth.services.http:HttpModel",
    },
    BadModel,
)


def is_service(spec: str) -> bool:
    """Whether a classifier's name stands for a service."""
    return SERVICES.find(spec) is not None


def terms_of(spec: str) -> Terms:
    """The terms of a service; raises BadModel for a name that stands for none."""
    return _adapter(spec).terms


def connect(
    spec: str,
    *,
    endpoint: str | None = None,
    wire: Any = None,
    concurrency: int = 32,
    time_limit: float = 10.0,
    dry: bool = False,
) -> Provider:
    """The adapter of a service, with credentials from its environment variables; sends nothing.

    `dry`: one that cannot be asked, and needs neither credentials nor an SDK.

    Raises BadModel for an unknown name, a wrong address or missing credentials, MissingPackage without the SDK.
    """
    adapter = _adapter(spec)
    if wire is not None and not adapter.by_address:
        raise BadParameter(f"--wire describes the JSON of an http:// model; {spec} has its own")
    if endpoint is not None and (adapter.by_address or not is_address(endpoint)):
        expected = "no --endpoint beside an http:// model" if adapter.by_address else "--endpoint as http://HOST:PORT"
        shown = "one with more in it" if may_hold_a_key(endpoint) else repr(endpoint[:200])  # it could be a key
        raise BadParameter(f"expected {expected}, got {shown}")
    if dry and not adapter.by_address:
        return _Dry(spec)
    return adapter(spec, endpoint=endpoint, wire=wire, concurrency=concurrency, time_limit=time_limit)


def reader(name: str, wire: Any) -> Callable[[Any], Reply]:
    """What reads the logged answers of a service; needs neither its SDK nor a key."""
    return partial(_adapter(name).read, wire=wire)


class _Dry(Provider):
    """The name of a service, for its terms."""

    terms: ClassVar[Terms] = Terms(None, None)

    def __init__(self, spec: str, **options: Any) -> None:
        self.name, self.secrets = spec, []

    def ask(self, png: bytes) -> Any:
        raise QueryFailed(f"{self.name} was set up for its price alone", retry=False, fatal=True)

    @staticmethod
    def read(raw: Any, wire: Any) -> Reply:
        raise ValueError("nothing was asked")

    def close(self) -> None:
        """There is no connection."""


def _adapter(spec: str) -> type[Provider]:
    adapter: type[Provider] = SERVICES.load(spec)
    if not adapter.serves(spec):
        raise BadModel(f"service must be one of {SERVICES}, got {spec[:200]!r}")
    return adapter
