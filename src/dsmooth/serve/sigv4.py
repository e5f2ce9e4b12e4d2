"""AWS Signature Version 4, checked: who signed a request, that its body is the one signed, and that it is not an old one.

Source: Amazon's reference "Create a signed AWS API request", the canonical request and the derived signing key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import stat
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dsmooth.errors import BadParameter
from dsmooth.records.files import TEXT, read_bounded
from dsmooth.records.reading import strict_json
from dsmooth.serve.refusals import Refused

__all__ = ["Signed", "check_signature", "read_secrets", "signed"]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_AUTHORIZATION: Final = re.compile(
    rf"{_ALGORITHM} Credential=([A-Z0-9]{{4,128}})/([0-9]{{8}})/([a-z0-9-]{{1,40}})/rekognition/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]{1,1000}), ?Signature=([0-9a-f]{64})",
    re.ASCII,
)
_NEEDED: Final = {"host", "x-amz-date", "x-amz-target"}
_SKEW: Final = 300.0  # seconds


class Signed:
    """What the Authorization header of a request says."""

    def __init__(self, access_key: str, day: str, region: str, headers: tuple[str, ...], signature: str) -> None:
        self.access_key, self.day, self.region, self.headers, self.signature = (
            access_key,
            day,
            region,
            headers,
            signature,
        )


def signed(headers: Mapping[str, str]) -> Signed:
    """Who says to have signed it, and what; raises Refused (401) where nobody does, or too little is signed."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        raise Refused("unauthenticated", "expected a request that is signed for rekognition with Signature Version 4")
    names = tuple(match[4].split(";"))
    if not set(names) >= _NEEDED:
        raise Refused("unauthenticated", f"expected {', '.join(sorted(_NEEDED))} among the signed headers")
    return Signed(match[1], match[2], match[3], names, match[5])


def check_signature(
    told: Signed,
    secret: str,
    headers: Mapping[str, str],
    query: str,
    body: bytes,
    clock: Callable[[], float] = time.time,
) -> None:
    """Raises Refused (401) unless POST / with these headers and this body was signed with the secret within 5 minutes."""
    date = headers.get("x-amz-date", "")
    try:
        at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Refused("unauthenticated", "expected x-amz-date as YYYYMMDDTHHMMSSZ") from None
    if abs(clock() - at) > _SKEW or date[:8] != told.day:
        raise Refused(
            "unauthenticated", "expected a request signed within the last 5 minutes: check the clock, and sign it again"
        )
    payload = hashlib.sha256(body).hexdigest()
    if headers.get("x-amz-content-sha256", payload) != payload:
        raise Refused("unauthenticated", "the body does not match the hash in the request")
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}" for name in told.headers]
    canonical = "\n".join(["POST", "/", query, *lines, "", ";".join(told.headers), payload])
    scope = f"{told.day}/{told.region}/rekognition/aws4_request"
    text = "\n".join([_ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), told.signature):
        raise Refused("unauthenticated", "the signature does not match this request and its key")


def read_secrets(path: Path) -> dict[str, str]:
    """The secrets in a file {"ACCESS KEY": "secret", ...}; raises BadParameter where it is none, or others may read it."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise BadParameter(f"{path}: others may read these secrets: chmod 600 it")
        value = strict_json(read_bounded(path, TEXT))
        if (
            not isinstance(value, dict)
            or not value
            or not all(isinstance(secret, str) and secret for secret in value.values())
        ):
            raise ValueError("no secrets")
    except BadParameter:
        raise
    except (OSError, ValueError):  # whose text may quote a secret
        raise BadParameter(f'{path}: expected {{"ACCESS KEY": "secret"}}, cannot read it') from None
    return value
