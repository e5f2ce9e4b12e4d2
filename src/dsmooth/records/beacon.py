"""A public randomness beacon: who signs its rounds, when each one is due, and its randomness.

drand's unchained rounds: the signature of round r is a BLS signature of SHA-256(r as 8 bytes, big-endian), on G1 of
BLS12-381 with the public key on G2; the randomness is the SHA-256 of the signature. Key and round determine the only valid
signature, so whoever publishes a round cannot choose its randomness.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeGuard

from dsmooth.errors import BadParameter, BadRun, Disproved
from dsmooth.records.files import TEXT, read_bounded
from dsmooth.records.reading import strict_json

__all__ = ["QUICKNET", "Beacon", "Round", "read_beacon"]

_SCHEME: Final = "bls-unchained-g1-rfc9380"
_DOMAIN: Final = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_LATEST: Final = 1 << 40  # seconds: no calendar of ours goes further


def _is_hex(text: Any, digits: int) -> TypeGuard[str]:
    return isinstance(text, str) and len(text) == digits and set(text) <= set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Beacon:
    """The chain of a beacon. Raises BadParameter for one that could not be."""

    public_key: str
    """The compressed point on G2, as 192 hexadecimal digits."""
    period: int
    """Seconds from one round to the next."""
    genesis_time: int
    """When round 1 comes, in seconds since 1970 (UTC)."""

    def __post_init__(self) -> None:
        if not _is_hex(self.public_key, 192):
            raise BadParameter(f"expected a beacon's public key as 192 hexadecimal digits, got {self.public_key!r:.60}")
        for name in ("period", "genesis_time"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value < _LATEST // 16:
                raise BadParameter(f"expected a beacon's {name} in whole seconds, got {value!r:.60}")

    def time_of(self, number: int) -> datetime:
        """When this round is published; it is unknown before."""
        try:
            return datetime.fromtimestamp(self.genesis_time + (number - 1) * self.period, UTC)
        except (OSError, OverflowError, ValueError):
            raise BadParameter(f"expected a round of the beacon, got {number!r:.60}") from None

    def round_after(self, moment: datetime) -> int:
        """The first round at or after this moment."""
        return max(1, -((self.genesis_time - math.ceil(moment.timestamp())) // self.period) + 1)

    def to_json(self) -> dict[str, Any]:
        """The chain, in drand's words."""
        return {
            "schemeID": _SCHEME,
            "public_key": self.public_key,
            "period": self.period,
            "genesis_time": self.genesis_time,
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The chain that drand's /info describes; raises BadParameter for any other signature scheme."""
        if not isinstance(value, dict) or value.get("schemeID") != _SCHEME:
            raise BadParameter(f"expected a beacon's chain (drand's /info) of schemeID {_SCHEME}")
        return cls(value.get("public_key", ""), value.get("period", 0), value.get("genesis_time", 0))


QUICKNET: Final = Beacon(
    "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
    "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
    "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
    period=3,
    genesis_time=1692803367,
)
"""drand's quicknet, run by the League of Entropy since 23 August 2023.

Source: https://api.drand.sh/52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971/info, the address being the
chain's hash, which covers all three (a test makes it from them).
"""


@dataclass(frozen=True, slots=True)
class Round:
    """A published round; raises Disproved unless its randomness is the SHA-256 of its signature."""

    number: int
    randomness: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if hashlib.sha256(self.signature).digest() != self.randomness:
            raise Disproved(f"the randomness of the beacon's round {self.number} is not the SHA-256 of its signature")

    def signed(self, beacon: Beacon) -> bool | None:
        """Whether the beacon signed it; None if the library for that is not installed (extra `witness`)."""
        try:
            return _bls_holds(bytes.fromhex(beacon.public_key), self.number, self.signature)
        except ModuleNotFoundError:
            return None

    def to_json(self) -> dict[str, Any]:
        """The round, in drand's words."""
        return {"round": self.number, "randomness": self.randomness.hex(), "signature": self.signature.hex()}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The round of drand's JSON; raises BadRun where it is none."""
        told = value if isinstance(value, dict) else {}
        number, randomness, signature = (told.get(name) for name in ("round", "randomness", "signature"))
        if type(number) is not int or not 1 <= number < _LATEST:
            raise BadRun("expected a beacon's round as drand's JSON: round, randomness, signature")
        if not _is_hex(randomness, 64) or not _is_hex(signature, 96):
            raise BadRun(
                "expected the randomness and signature of a beacon's round as 64 and 96 hexadecimal digits: a chain of "
                f"scheme {_SCHEME}"
            )
        return cls(number, bytes.fromhex(randomness), bytes.fromhex(signature))


def read_beacon(path: Path | None) -> Beacon:
    """The chain that a file describes as drand's /info does; quicknet without a file."""
    if path is None:
        return QUICKNET
    try:
        return Beacon.from_json(strict_json(read_bounded(path, TEXT)))
    except BadParameter as error:
        raise BadParameter(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise BadParameter(f"{path}: expected a beacon's chain (drand's /info), cannot read it ({error})") from error


def _py_ecc(module: str) -> Any:
    """A module of py_ecc. Importing it raises the limit of recursion to 100,000; it is put back: deep JSON ends there."""
    limit = sys.getrecursionlimit()
    try:
        return importlib.import_module(f"py_ecc.{module}")
    finally:
        sys.setrecursionlimit(limit)


def _bls_holds(public_key: bytes, number: int, signature: bytes) -> bool:
    """e(signature, generator of G2) = e(hash of the round, public key), both points being of the right subgroup."""
    hashing = _py_ecc("bls.hash_to_curve")
    points = _py_ecc("bls.point_compression")
    groups = _py_ecc("bls.g2_primitives")
    curve = _py_ecc("optimized_bls12_381")
    half = len(public_key) // 2
    try:
        key = points.decompress_G2((int.from_bytes(public_key[:half]), int.from_bytes(public_key[half:])))
        signed = points.decompress_G1(int.from_bytes(signature))
    except ValueError:
        return False  # no point of the curve
    if curve.is_inf(key) or not groups.subgroup_check(key) or not groups.subgroup_check(signed):
        return False
    message = hashlib.sha256(number.to_bytes(8)).digest()
    hashed = hashing.hash_to_G1(message, _DOMAIN, hashlib.sha256)
    left = curve.pairing(curve.G2, signed, final_exponentiate=False)
    right = curve.pairing(key, curve.neg(hashed), final_exponentiate=False)
    return bool(curve.final_exponentiate(left * right) == curve.FQ12.one())
