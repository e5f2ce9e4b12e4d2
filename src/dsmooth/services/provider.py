"""The contract of adapters: each builds the request and reads the answer; everything else is done once, in client.py."""

from __future__ import annotations

import base64
import contextlib
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.reading import strict_json

__all__ = [
    "Provider",
    "QueryFailed",
    "Reply",
    "Terms",
    "credential",
    "failed_with",
    "is_address",
    "may_hold_a_key",
    "parts_of",
    "read_logged",
    "reply_of",
]

_WRONG_KEY: Final = (401, 403, 404)
_WORTH_A_RETRY: Final = (408, 429)
_LARGEST_CLASS: Final = (1 << 53) - 1  # what every reader of JSON reads alike
_SHORTEST_SECRET: Final = 6  # characters: anything shorter stands in innocent words too


@dataclass(frozen=True, slots=True)
class Reply:
    """A valid answer as it counts: tags with scores in [0, 1], highest first. No tag at all is a valid answer too."""

    tags: tuple[tuple[str | int, float], ...]
    version: str | None
    """The model's version, where the service says it."""


class QueryFailed(Exception):
    """A try brought no valid answer."""

    def __init__(self, why: str, *, retry: bool = True, fatal: bool = False, wait: float | None = None) -> None:
        super().__init__(why)
        self.retry = retry
        """Whether the same bytes may be answered at another try."""
        self.fatal = fatal
        """No query can succeed (a wrong key, a wrong address)."""
        self.wait = wait
        """Seconds that the service asks everybody to wait; 0 for "slower" without a number, None for nothing said."""


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
    checked: str | None = None
    """When all of this was read off the provider's pages (ISO date)."""


class Provider(ABC):
    """One service."""

    terms: ClassVar[Terms]
    by_address: ClassVar[bool] = False
    """Whether the name is an address, and the JSON behind it is described by a wire of the user's own."""

    name: str
    """As users write it, without anything secret."""
    secrets: list[str]
    """What must never be written down or printed."""
    wire: Any = None
    """What `read` needs to read logged answers again (JSON), beside them."""

    @abstractmethod
    def __init__(self, spec: str, *, endpoint: str | None, wire: Any, concurrency: int, time_limit: float) -> None:
        """Set up for this name, with credentials from the environment; sends nothing.

        Raises BadModel where that cannot be done, MissingPackage without the SDK.
        """

    @classmethod
    def serves(cls, spec: str) -> bool:
        """Whether a name of this scheme stands for something; needs neither SDK nor key."""
        return spec == cls.name

    @abstractmethod
    def ask(self, png: bytes) -> Any:
        """The raw answer (JSON value) to one image; raises QueryFailed. Threads may call it at once."""

    @staticmethod
    @abstractmethod
    def read(raw: Any, wire: Any) -> Reply:
        """What the raw answer says; raises LookupError, TypeError or ValueError where it is none."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of connections; nothing can be asked any more."""


def is_address(text: str) -> bool:
    """Whether this can be the address of a server: http:// or https://, a host, and perhaps a port and a path."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # it may quote what could be a key
        return False
    return known and text.isprintable() and " " not in text and not may_hold_a_key(text)


def may_hold_a_key(address: str) -> bool:
    """Whether there is more in it than an address: a user with a password, or parameters."""
    host = address.partition("://")[2].partition("/")[0]
    return "@" in host or "?" in address or "#" in address


def credential(variable: str) -> str | None:
    """What this environment variable holds, without blanks around it; None where it holds nothing.

    Raises BadParameter for what no header can carry, without showing it: clients would show it when they fail.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise BadParameter(f"expected printable ASCII in the variable {variable}, got other characters")
    return key or None


def parts_of(header: str) -> list[str]:
    """All that is secret in the value of an Authorization header: the whole, what follows the scheme, by itself, and what
    Basic hides in base64: user name with password, and the password alone.
    """
    scheme, _, given = header.partition(" ")
    rest = given.strip() or header
    parts = [header, rest, *re.split(r"[\s\"',;=]+", rest)]
    if scheme.casefold() == "basic":
        with contextlib.suppress(ValueError):
            decoded = base64.b64decode(rest.rstrip("=") + "==")
            for text in (decoded.decode("latin-1"), decoded.decode("utf-8", "replace")):
                parts += [text, text.partition(":")[2]]
    return sorted({part for part in parts if len(part) >= _SHORTEST_SECRET}, key=len, reverse=True)


def failed_with(status: int | None, why: str, retry_after: str | None = None) -> QueryFailed:
    """The failure that an HTTP status stands for (None: no response at all)."""
    text = why if status is None else f"{status} {why}"
    if status in _WRONG_KEY:
        return QueryFailed(text, retry=False, fatal=True)
    retry = status is None or status in _WORTH_A_RETRY or status >= 500
    wait = _seconds(retry_after)
    return QueryFailed(text, retry=retry, wait=0.0 if wait is None and status == 429 else wait)


def reply_of(tags: Sequence[tuple[str | int, float]], version: str | None) -> Reply:
    """The reply with these tags in order of falling score (equal scores: as the service ordered them)."""
    for name, score in tags:
        if type(name) is not str and (type(name) is not int or abs(name) > _LARGEST_CLASS):
            raise ValueError(f"expected tags that are text or class numbers, got {type(name).__name__}")
        if not math.isfinite(score):
            raise ValueError(f"expected finite scores, got {score!r} for {name!r}")
    return Reply(tuple(sorted(tags, key=lambda tag: -tag[1])), version)


def read_logged(read: Callable[[Any], Reply], raw: str) -> Reply:
    """What an answer in a log says; raises BadRun where it says nothing that the service's wire knows."""
    try:
        return read(strict_json(raw))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise BadRun(f"expected a logged answer of the service, got one that cannot be read ({error!r})") from error


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or an HTTP date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
