"""A witness: evidence that a key was fixed before anyone could know the noise that follows from it.

A time stamp alone leaves keys to be tried before it, a beacon alone leaves keys to be chosen after it. With both, the
commitment (question, images, key, a future round of a beacon) is time-stamped, and the round's randomness then enters
the key of all noise: whoever made the commitment could not know the noise, and can change nothing afterwards.

witness/commitment.json  what is committed to
witness/request.tsq      the RFC 3161 query over its SHA-256, for any time-stamp authority
witness/token.tsr        the authority's answer
witness/round.json       the beacon's round, as drand's JSON
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from dsmooth.errors import BadInput, BadParameter, BadRun, Disproved, require
from dsmooth.records.beacon import Beacon, Round
from dsmooth.records.digests import canonical_json, digest_json
from dsmooth.records.files import TEXT, make_folder, read_bounded, write_whole
from dsmooth.records.keys import is_late
from dsmooth.records.reading import strict_json
from dsmooth.theory.laws.base import EnumeratedLaw, Law

__all__ = [
    "FOLDER", "ROUND", "TOKEN", "UNKEYED", "Commitment", "Standing", "Witness", "key_line", "read_witness", "standing",
    "unwitnessed", "witness_of",
]  # fmt: skip

FOLDER: Final = "witness"
TOKEN: Final = "token.tsr"
ROUND: Final = "round.json"
COMMITMENT: Final = "commitment.json"
REQUEST: Final = "request.tsq"

_SCHEMA: Final = "dsmooth-witness-1"
_SELF_CHOSEN: Final = "self-chosen key, not witnessed"
_LATE: Final = "self-chosen key, not witnessed, and images fixed after it"
_PARALLEL: Final = "commitments made in parallel remain possible"


@dataclass(frozen=True, slots=True)
class Commitment:
    """What is time-stamped before the beacon's round is published."""

    question: Mapping[str, Any]
    data: str
    """Digest of the names, labels and pixels of all images."""
    key: str
    """SHA-256 of the master key."""
    beacon: Beacon
    round: int

    @property
    def text(self) -> bytes:
        """The content of commitment.json: one spelling, so that the file can always be made again."""
        value = {
            "schema": _SCHEMA,
            "question": self.question,
            "data": self.data,
            "key_commitment": self.key,
            **self.appointment,
        }
        return canonical_json(value).encode()

    @property
    def appointment(self) -> dict[str, Any]:
        """The beacon and the round, as a run's header has them."""
        return {"beacon": self.beacon.to_json(), "round": self.round}

    @property
    def digest(self) -> str:
        """SHA-256 of the text: what is time-stamped, and what records name."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def comes(self) -> datetime:
        """When the round comes."""
        return self.beacon.time_of(self.round)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The commitment of a run's header, a commitment.json or a certificate; raises BadRun where there is none."""
        try:
            told = {**value, **value.get("witness", {})}
            made = cls(
                dict(told["question"]),
                str(told["data"]),
                str(told["key_commitment"]),
                Beacon.from_json(told["beacon"]),
                told["round"],
            )
            if type(made.round) is not int or made.round < 1:
                raise BadRun(f"expected the number of a beacon's round, got {made.round!r:.60}")
            _ = made.comes
            return made
        except BadRun:
            raise
        except (AttributeError, BadInput, KeyError, TypeError, ValueError) as error:
            raise BadRun(f"expected a commitment to question, images, key and round ({error})") from error

    def write(self, folder: Path) -> None:
        """commitment.json and request.tsq lie in the run's folder for witnesses."""
        client = require("rfc3161_client", "witness")
        query = client.TimestampRequestBuilder(self.text, client.HashAlgorithm.SHA256, nonce=False, cert_req=True)
        make_folder(folder / FOLDER, inside=folder)
        write_whole(folder / FOLDER / COMMITMENT, self.text, inside=folder)
        write_whole(folder / FOLDER / REQUEST, query.build().as_bytes(), inside=folder)


@dataclass(frozen=True, slots=True)
class Witness:
    """A commitment with the answer of a time-stamp authority and the beacon's round; nothing of it is checked yet."""

    commitment: Commitment
    token: bytes
    round: Round

    def check_round(self) -> None:
        """Raises Disproved unless the round is the one that was committed to."""
        if self.round.number != self.commitment.round:
            raise Disproved(
                f"this is the beacon's round {self.round.number}, not {self.commitment.round} as committed to"
            )

    def check_time(self) -> datetime:
        """The time of the token, its inaccuracy added; its signature is not checked.

        Raises Disproved unless the token is about the commitment and earlier than the round.
        """
        response = self._response()
        try:
            info = response.tst_info
            imprint, time, accuracy = info.message_imprint.message, info.gen_time, info.accuracy
        except ValueError as error:
            raise Disproved(f"the authority's answer holds no time stamp ({error})") from error
        if imprint != hashlib.sha256(self.commitment.text).digest():
            raise Disproved("the time stamp is not of this commitment")
        if accuracy is not None:
            time += timedelta(
                seconds=accuracy.seconds or 0, milliseconds=accuracy.millis or 0, microseconds=accuracy.micros or 0
            )
        if time >= self.commitment.comes:
            raise Disproved(
                f"the time stamp ({_told(time)}) is not before the beacon's round ({_told(self.commitment.comes)}): the key "
                "could have been chosen when the round was known"
            )
        return time

    def check_token(self, roots: bytes) -> None:
        """Raises Disproved unless an authority under one of these root certificates (PEM) signed the token."""
        client = require("rfc3161_client", "witness")
        try:
            certificates = require("cryptography.x509", "witness").load_pem_x509_certificates(roots)
        except ValueError as error:
            raise BadParameter(f"expected root certificates of time-stamp authorities (PEM): {error}") from error
        try:
            client.VerifierBuilder(roots=certificates).build().verify_message(self._response(), self.commitment.text)
        except (client.VerificationError, ValueError) as error:
            raise Disproved("the time stamp was not signed by an authority under the given roots") from error

    def _response(self) -> Any:
        try:
            return require("rfc3161_client", "witness").decode_timestamp_response(self.token)
        except ValueError as error:
            raise Disproved(f"the time stamp is no answer of a time-stamp authority ({error})") from error

    def write(self, folder: Path) -> None:
        """All four files lie in the run's folder for witnesses."""
        self.commitment.write(folder)
        write_whole(folder / FOLDER / TOKEN, self.token, inside=folder)
        write_whole(folder / FOLDER / ROUND, canonical_json(self.round.to_json()), inside=folder)

    def to_json(self) -> dict[str, Any]:
        """Everything, for a certificate file: texts, so that no reader rounds a number."""
        return {
            "commitment": self.commitment.text.decode(),
            "token": base64.b64encode(self.token).decode(),
            "round": canonical_json(self.round.to_json()),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> Self:
        """The witness of a certificate file; raises BadRun where it is none."""
        try:
            commitment, turn = (strict_json(value[name]) for name in ("commitment", "round"))
            token = base64.b64decode(value["token"], validate=True)
        except ValueError as error:
            raise BadRun(f"expected a witness, cannot read it ({error})") from error
        made = cls(Commitment.from_json(commitment), token, Round.from_json(turn))
        if made.commitment.text.decode() != value["commitment"]:
            raise BadRun("expected a commitment in its one spelling, got another")
        return made


def read_witness(folder: Path, commitment: Commitment) -> Witness | None:
    """What lies in a run's folder for witnesses; None while token or round are missing."""
    place = folder / FOLDER
    try:
        token, turn = (read_bounded(place / name, TEXT, inside=folder) for name in (TOKEN, ROUND))
        return Witness(commitment, token, Round.from_json(strict_json(turn)))
    except FileNotFoundError:
        return None
    except BadRun as error:
        raise type(error)(f"{place}: {error}") from error
    except (OSError, ValueError) as error:
        raise BadRun(f"{place}: expected {TOKEN} and {ROUND}, cannot read them ({error})") from error


def witness_of(folder: Path, header: Mapping[str, Any]) -> Witness | None:
    """The witness of the run with this header; None where it names none, or waits for it."""
    return read_witness(folder, Commitment.from_json(header)) if header.get("witness") is not None else None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about a key: whether its maker may have tried others."""

    text: str
    """One clause; it includes 'not witnessed' wherever the key is not."""
    witnessed: bool = False
    false: bool = False
    """Whether the witness contradicts itself or the run."""


UNKEYED: Final = Standing("no key: all outcomes of the noise were evaluated, so nothing could be chosen")
"""Under an enumerated law no key decides anything."""


def key_line(header: Mapping[str, Any], law: Law) -> str:
    """What a run under this law states about its witness, unchecked: `dsmooth verify` checks it."""
    if isinstance(law, EnumeratedLaw):
        return UNKEYED.text
    if header.get("witness") is None:
        return unwitnessed(late=is_late(header))
    return "key stated to be witnessed; not checked here (dsmooth verify --timestamp-roots)"


def unwitnessed(*, late: bool) -> str:
    """What is said of a key without a witness. `late`: whether the images were named after it was drawn."""
    return _LATE if late else _SELF_CHOSEN


def standing(
    witness: Witness | None,
    named: list[list[Any]],
    *,
    alone: bool,
    roots: bytes | None,
    beacon: Beacon,
    late: bool = False,
) -> Standing:
    """What a witness proves of these images (name, label, digest), to who trusts these roots and this beacon.

    `alone`: they are not all images of a run. `late`: they were named after the key was drawn.
    """
    if witness is None:
        return Standing(unwitnessed(late=late))
    try:
        witness.check_round()
        if witness.commitment.beacon != beacon:
            return Standing("not witnessed: the commitment is to another beacon than the one you trust (--beacon)")
        signed = witness.round.signed(beacon)
        if signed is False:
            raise Disproved(f"the beacon did not sign round {witness.round.number} as given")
        all_there = digest_json(named) == witness.commitment.data
        if not all_there and not alone:
            raise Disproved("the commitment is to other images or labels")
        if roots is None:
            return Standing("not witnessed: the time stamp was not checked (--timestamp-roots)")
        witness.check_token(roots)
        time = witness.check_time()
    except Disproved as error:
        return Standing(f"invalid witness: {error}", false=True)
    if signed is None:
        return Standing("time-stamped, beacon's signature not checked (pip install 'dsmooth[witness]'): not witnessed")
    if not all_there:
        return Standing("not witnessed: only the whole run can show that this image was committed to")
    turn = f"round {witness.round.number} of the beacon ({_told(witness.commitment.comes)})"
    return Standing(f"key witnessed: fixed by {_told(time)}, before {turn}; {_PARALLEL}", witnessed=True)


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
