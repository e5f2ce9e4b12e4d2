"""`http://...`, `https://...`: any model that takes and gives JSON, through requests (extra `http`)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

from dsmooth.errors import BadModel, BadParameter, require
from dsmooth.records.reading import strict_json
from dsmooth.services.connections import session
from dsmooth.services.descriptions import read_description
from dsmooth.services.provider import (
    Provider,
    QueryFailed,
    Reply,
    Terms,
    credential,
    failed_with,
    is_address,
    may_hold_a_key,
    parts_of,
    reply_of,
)

__all__ = ["WIRE", "HttpModel", "load_wire", "read_wire"]

WIRE: Final[dict[str, Any]] = {
    "request": {"image": "{image}"},
    "labels": "labels.*.name",
    "scores": "labels.*.score",
    "version": "version",
}
"""The default wire: what is sent ("{image}" is replaced by the PNG in base64), and where labels, their scores and the
model's version stand in the answer (keys and positions joined by dots; * is every element). Without `labels` the
positions of the scores are the labels, as for a list of logits; without `scores` the order is what counts."""


class HttpModel(Provider):
    """The value of the Authorization header in DSMOOTH_HTTP_AUTHORIZATION, where the server wants one."""

    terms: ClassVar[Terms] = Terms(None, None)
    by_address: ClassVar[bool] = True

    def __init__(self, spec: str, *, endpoint: str | None, wire: Any, concurrency: int, time_limit: float) -> None:
        if may_hold_a_key(spec):
            raise BadModel(
                "expected an address without a password or parameters: secrets belong in the variable "
                "DSMOOTH_HTTP_AUTHORIZATION, everything else in the request of --wire"
            )
        if not is_address(spec):
            raise BadModel(f"expected an address as http://HOST:PORT/PATH, got {spec[:200]!r}")
        self._exceptions = require("requests.exceptions", "http")
        self.name, self.wire = spec, WIRE if wire is None else wire
        key = credential("DSMOOTH_HTTP_AUTHORIZATION")
        self.secrets = parts_of(key) if key else []
        self._session = session("http", concurrency)
        self._session.trust_env = False  # no proxy, no .netrc: the images go where the address says
        if key:
            self._session.headers["Authorization"] = key
        self._time_limit = time_limit

    @classmethod
    def serves(cls, spec: str) -> bool:
        return True

    def ask(self, png: bytes) -> Any:
        body = _filled(self.wire["request"], base64.b64encode(png).decode())
        try:
            response = self._session.post(self.name, json=body, timeout=self._time_limit, allow_redirects=False)
        except self._exceptions.RequestException as error:
            raise QueryFailed(f"{type(error).__name__}: {error}") from error
        if response.status_code != 200:
            raise failed_with(response.status_code, response.reason, response.headers.get("Retry-After"))
        try:
            return strict_json(response.content)
        except ValueError as error:
            raise QueryFailed("broken JSON") from error

    def close(self) -> None:
        self._session.close()

    @staticmethod
    def read(raw: Any, wire: Any) -> Reply:
        return read_wire(wire, raw)


def read_wire(wire: Any, raw: Any) -> Reply:
    """What an answer says, read as the wire describes it; raises LookupError, TypeError or ValueError where it does not."""
    names = None if wire.get("labels") is None else list(_at(raw, wire["labels"].split(".")))
    scores = None if wire.get("scores") is None else [float(score) for score in _at(raw, wire["scores"].split("."))]
    if scores is None:
        scores = [0.0] * len(names or [])
    versions = [] if wire.get("version") is None else list(_at(raw, wire["version"].split("."), optional=True))
    tags = list(zip(range(len(scores)) if names is None else names, scores, strict=True))
    return reply_of(tags, str(versions[0]) if versions else None)


def load_wire(path: Path | str) -> dict[str, Any]:
    """The wire that a JSON file describes; raises BadParameter where it describes none."""
    wire = read_description(path, "a description of request and answer")
    if not wire.keys() <= WIRE.keys() or "request" not in wire:
        raise BadParameter(f"{path}: expected an object with request and any of labels, scores, version")
    if "{image}" not in json.dumps(wire["request"]) or not (wire.keys() & {"labels", "scores"}):
        raise BadParameter(f'{path}: expected "{{image}}" in the request, and labels or scores to be named')
    if not all(isinstance(wire.get(name, ""), str) for name in ("labels", "scores", "version")):
        raise BadParameter(f"{path}: expected labels, scores and version as text such as predictions.*.name")
    return wire


def _filled(template: Any, image: str) -> Any:
    """The template with the image in the place of "{image}"."""
    if isinstance(template, dict):
        return {key: _filled(value, image) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, image) for value in template]
    return template.replace("{image}", image) if isinstance(template, str) else template


def _at(value: Any, path: list[str], *, optional: bool = False) -> Iterator[Any]:
    """Everything that stands at a path."""
    if not path:
        yield value
        return
    step, *rest = path
    if step == "*":
        if not isinstance(value, list):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        for item in value:
            yield from _at(item, rest)
    elif isinstance(value, list):
        yield from _at(value[int(step)], rest)
    elif not optional or step in value:
        yield from _at(value[step], rest, optional=optional)
