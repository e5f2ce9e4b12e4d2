"""Who asks: keys, of which only hashes are held, and what each caller may spend."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from dsmooth.errors import BadParameter
from dsmooth.records.files import TEXT, read_bounded
from dsmooth.records.reading import strict_json
from dsmooth.serve.refusals import Refused
from dsmooth.serve.sigv4 import Signed, check_signature

__all__ = ["LOCAL", "Caller", "Callers", "read_callers"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_QUOTAS: Final = ("requests_per_minute", "samples_per_day", "dollars_per_day")
_FIELDS: Final = {"name", "sha256", "aws_access_key", *_QUOTAS}
_MINUTE, _DAY = 60.0, 86_400.0
_ACCESS_KEY: Final = re.compile(r"[A-Z0-9]{16,128}", re.ASCII)


@dataclass(frozen=True)
class Caller:
    """Somebody who may ask, and how much; None: no limit."""

    name: str
    sha256: str = ""
    """Of the key."""
    requests_per_minute: float | None = None
    samples_per_day: float | None = None
    dollars_per_day: float | None = None
    """At the list price of a paid upstream, retries of the service aside."""
    aws_access_key: str | None = None
    """What names this caller in requests that AWS's SDKs sign."""


LOCAL: Final = Caller("local")
"""Everybody, on a loopback address without a file of keys."""


class Callers:
    """The callers of a server, and what each has spent. Without any, everybody is LOCAL.

    Raises BadParameter for a caller whose signatures could not be checked.
    """

    def __init__(
        self,
        callers: Sequence[Caller] = (),
        aws_secrets: Mapping[str, str] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for caller in callers:
            if caller.aws_access_key is not None and caller.aws_access_key not in aws_secrets:
                raise BadParameter(
                    f"{caller.name} has the aws_access_key {caller.aws_access_key}: put its secret into the file of "
                    "--aws-secrets"
                )
        self._callers, self._aws_secrets = tuple(callers), aws_secrets
        self._lock = threading.Lock()
        self._budgets: dict[tuple[str, str], _Budget] = {}
        self._clock = clock

    @property
    def needed(self) -> bool:
        """Whether a key is needed."""
        return bool(self._callers)

    @property
    def counts_dollars(self) -> bool:
        """Whether somebody has a quota of money."""
        return any(caller.dollars_per_day is not None for caller in self._callers)

    def of_key(self, key: str | None) -> Caller:
        """Whose key it is; raises Refused (401) for none and for an unknown one, after the same work for every key."""
        if not self._callers:
            return LOCAL
        if not key:
            raise Refused("unauthenticated", "expected an API key of this server, got none")
        offered = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for caller in self._callers:
            if hmac.compare_digest(offered, caller.sha256):
                found = caller
        if found is None:
            raise Refused("unauthenticated", "expected an API key of this server, got another")
        return found

    def of_signature(self, told: Signed, headers: Mapping[str, str], query: str, body: bytes) -> Caller:
        """Who signed this request, as its Authorization header tells; raises Refused (401) where nobody did who may ask."""
        found = next((caller for caller in self._callers if caller.aws_access_key == told.access_key), None)
        known = found is not None and told.access_key in self._aws_secrets
        # an unknown name takes the same work as a wrong signature
        check_signature(
            told, self._aws_secrets[told.access_key] if known else secrets.token_hex(), headers, query, body
        )
        if found is None:
            raise Refused("unauthenticated", "the signature does not match this request and its key")
        return found

    def request(self, caller: Caller) -> None:
        """One more request; raises Refused (429) above the caller's rate."""
        self._spend(caller, [("requests", caller.requests_per_minute, _MINUTE, 1.0)])

    def samples(self, caller: Caller, samples: int, dollars: float) -> None:
        """So many samples are about to be asked for; raises Refused (429) above what the caller may have in a day."""
        self._spend(
            caller,
            [
                ("samples", caller.samples_per_day, _DAY, float(samples)),
                ("dollars", caller.dollars_per_day, _DAY, dollars),
            ],
        )

    def _spend(self, caller: Caller, amounts: Sequence[tuple[str, float | None, float, float]]) -> None:
        """All of it is spent, or nothing: what, the most of it in so many seconds (None: no limit), and how much."""
        taken = []
        with self._lock:
            for what, most, seconds, amount in amounts:
                if most is None:
                    continue
                budget = self._budgets.setdefault(
                    (caller.name, what), _Budget(most, most / seconds, most, self._clock())
                )
                wait = budget.wait(amount, self._clock())
                if math.isinf(wait):
                    raise Refused(
                        "quota", f"this key has {most:g} {what} in {seconds:g} s, and this request needs {amount:g}"
                    )
                if wait > 0.0:
                    raise Refused(
                        "quota",
                        f"the quota of this key ({most:g} {what} in {seconds:g} s) is used up; try again in "
                        f"{math.ceil(wait)} s",
                        retry_after=wait,
                    )
                taken.append((budget, amount))
            for budget, amount in taken:
                budget.left -= amount


@dataclass
class _Budget:
    """What fills up again at a constant rate, up to `most`."""

    most: float
    rate: float
    left: float
    at: float

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much is there; infinity: never."""
        self.left, self.at = min(self.most, self.left + (now - self.at) * self.rate), now
        if amount > self.most:
            return math.inf
        return max(0.0, amount - self.left) / self.rate


def read_callers(path: Path) -> list[Caller]:
    """The callers in a file {"keys": [{"name": ..., "sha256": ...}, ...]}; raises BadParameter where it is none."""
    try:
        value = strict_json(read_bounded(path, TEXT))
        rows = value["keys"]
        if value.keys() != {"keys"} or not isinstance(rows, list) or not rows:
            raise ValueError("no list of keys")
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise BadParameter(
            f'{path}: expected {{"keys": [{{"name": "alice", "sha256": "..."}}]}}, cannot read it ({error})'
        ) from error
    callers = [_caller(row, f"{path}: key {i + 1}") for i, row in enumerate(rows)]
    for what in ("name", "sha256", "aws_access_key"):
        values = [value for caller in callers if (value := getattr(caller, what)) is not None]
        if len(set(values)) != len(values):
            raise BadParameter(f"{path}: expected each {what} once, got one twice")
    return callers


def _caller(row: Any, where: str) -> Caller:
    if not isinstance(row, dict) or not {"name", "sha256"} <= row.keys() <= _FIELDS:
        raise BadParameter(
            f"{where}: expected name, sha256, and optionally {', '.join(sorted(_FIELDS - {'name', 'sha256'}))}"
        )
    if not _matches(_NAME, row["name"]):
        raise BadParameter(f"{where}: a name has 1 to 32 of a-z, 0-9, - and _, got {str(row['name'])[:40]!r}")
    if not _matches(_HASH, row["sha256"]):
        raise BadParameter(f"{where}: expected the key's SHA-256 in 64 hexadecimal digits: never the key itself")
    for name in _QUOTAS:
        number = row.get(name)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float) or not number > 0):
            raise BadParameter(f"{where}: {name} must be a number above 0, got {str(number)[:40]!r}")
    access = row.get("aws_access_key")
    if access is not None and not _matches(_ACCESS_KEY, access):
        raise BadParameter(f"{where}: aws_access_key has 16 to 128 of A-Z and 0-9")
    return Caller(**row)


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
