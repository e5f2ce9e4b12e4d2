"""Signed certificate files: Ed25519 over the file's bytes, in a DSSE envelope.

The envelope is JSON of three fields, and holds the file in base64, so that no other spelling of it can be taken for the one
that was signed. Source: DSSE v1 (github.com/secure-systems-lab/dsse); RFC 8032 for Ed25519. Reading one needs no package;
signing and checking need cryptography (extra `sign`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadParameter, BadRun, require
from dsmooth.records.files import SMALL, read_bounded, write_whole

__all__ = ["PAYLOAD_TYPE", "Envelope", "SigningKey", "generate", "name_of", "read_public_key"]

PAYLOAD_TYPE: Final = "application/vnd.dsmooth.certificate+json"
_FIELDS: Final = {"payloadType", "payload", "signatures"}
_MOST_SIGNATURES: Final = 16


@dataclass(frozen=True)
class Envelope:
    """Bytes, and signatures that are said to be of them."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """Name of a key, and signature."""

    def text(self) -> str:
        """The file's text."""
        value = {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [{"keyid": name, "sig": base64.b64encode(sig).decode()} for name, sig in self.signatures],
        }
        return json.dumps(value) + "\n"

    @staticmethod
    def is_one(value: object) -> bool:
        """Whether this JSON value means to be an envelope."""
        return isinstance(value, dict) and "payloadType" in value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Envelope:
        """The envelope; raises BadRun for anything that `text` does not write."""
        try:
            if value.keys() != _FIELDS or value["payloadType"] != PAYLOAD_TYPE:
                raise ValueError(f"fields {sorted(value)}")
            rows = value["signatures"]
            if not 1 <= len(rows) <= _MOST_SIGNATURES or any(row.keys() != {"keyid", "sig"} for row in rows):
                raise ValueError("signatures")
            signatures = tuple((str(row["keyid"]), base64.b64decode(row["sig"], validate=True)) for row in rows)
            return cls(base64.b64decode(value["payload"], validate=True), signatures)
        except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
            raise BadRun(f"expected a DSSE envelope around a certificate, got something else ({error})") from error

    def signed_by(self, public_key: Any) -> bool:
        """Whether one of the signatures is of these bytes, by this key."""
        invalid = require("cryptography.exceptions", "sign").InvalidSignature
        for _, signature in self.signatures:  # the names of keys are hints: nothing follows from them
            try:
                public_key.verify(signature, _signed_bytes(self.payload))
            except invalid:
                continue
            return True
        return False


class SigningKey:
    """An Ed25519 key that signs certificates."""

    def __init__(self, path: Path) -> None:
        """Reads a private key in PEM; raises BadParameter where there is none. What the file holds is never shown."""
        serialization = require("cryptography.hazmat.primitives.serialization", "sign")
        kind = require("cryptography.hazmat.primitives.asymmetric.ed25519", "sign").Ed25519PrivateKey
        try:
            key = serialization.load_pem_private_key(read_bounded(path, SMALL), None)
        except (OSError, TypeError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is none, or has a password"
            raise BadParameter(f"{path}: expected a private key of dsmooth keygen, cannot read it ({why})") from None
        if not isinstance(key, kind):
            raise BadParameter(f"{path}: expected an Ed25519 key, got another kind: make one with dsmooth keygen")
        self._key = key
        self.name = name_of(key.public_key())

    def sealed(self, payload: bytes) -> bytes:
        """The text of an envelope around these bytes."""
        return Envelope(payload, ((self.name, self._key.sign(_signed_bytes(payload))),)).text().encode()


def generate(path: Path) -> tuple[Path, str]:
    """A new key lies in `path`, for its owner alone, and its public half in a file beside it: that file, and the key's name.

    Raises BadParameter where one of the two exists, or cannot be written.
    """
    serialization = require("cryptography.hazmat.primitives.serialization", "sign")
    key = require("cryptography.hazmat.primitives.asymmetric.ed25519", "sign").Ed25519PrivateKey.generate()
    public = path.with_name(f"{path.name}.pub")
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    for each in (path, public):
        if each.exists():
            raise BadParameter(f"{each} exists: choose another name; a key that is overwritten is lost")
    try:
        write_whole(path, secret, mode=0o600)
        write_whole(public, shown)
    except OSError as error:
        raise BadParameter(f"{path}: cannot be written ({error.strerror})") from error
    return public, name_of(key.public_key())


def read_public_key(path: Path) -> Any:
    """An Ed25519 public key (cryptography's) from PEM; raises BadParameter where there is none."""
    serialization = require("cryptography.hazmat.primitives.serialization", "sign")
    kind = require("cryptography.hazmat.primitives.asymmetric.ed25519", "sign").Ed25519PublicKey
    try:
        key = serialization.load_pem_public_key(read_bounded(path, SMALL))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is none"
        raise BadParameter(f"{path}: expected a public key (PEM) of dsmooth keygen, cannot read it ({why})") from None
    if not isinstance(key, kind):
        raise BadParameter(f"{path}: expected an Ed25519 public key, got another kind")
    return key


def name_of(public_key: Any) -> str:
    """What a key is called: ed25519 and 16 digits of the SHA-256 of its 32 bytes."""
    return f"ed25519:{hashlib.sha256(public_key.public_bytes_raw()).hexdigest()[:16]}"


def _signed_bytes(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
