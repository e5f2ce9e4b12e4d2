"""A certificate as one file that a third party can check: the claim, the record it rests on, its votes, and the key.

The format is closed: anything that its JSON Schema (certificate_schema.py) does not list is refused.
Numbers that are not whole are decimal strings, so that no reader rounds them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.certificate_schema import SPACE, check_certificate, decimal, spelled, unspelled
from dsmooth.records.digests import canonical_json
from dsmooth.records.envelope import Envelope
from dsmooth.records.files import read_bounded, write_whole
from dsmooth.records.reading import strict_json
from dsmooth.records.record_file import in_order
from dsmooth.records.schema import Record, certificate_of
from dsmooth.records.sidecar import read_packed
from dsmooth.records.store import Run
from dsmooth.records.witness import Witness, witness_of

__all__ = [
    "VERSION", "CertificateFile", "check_certificates_folder", "parse_certificate", "read_certificate", "write_certificates",
]  # fmt: skip

VERSION: Final = "dsmooth-certificate-2"

_MOST_BYTES = 64 << 20
_MOST_VALUES: Final = 1 << 19
"""JSON values: a label of an image stands there up to seven times, of 65,535. More take minutes to be checked."""
_VERSION_1: Final = "dsmooth-certificate-1"
_DECIMALS_1: Final = ("norm", "alpha", "sigma", "seconds")


@dataclass(frozen=True)
class CertificateFile:
    """One image's certificate with everything that it rests on."""

    record: Record
    packed: bytes
    """The packed votes, as the record's `votes` describes them."""
    key: bytes
    name: str | None
    """The name of the label."""
    witness: Witness | None = None
    """The evidence that the key was fixed before the noise could be known; absent from the file where there is none."""
    envelope: Envelope | None = None
    """The envelope, if it was signed; `text` is its content."""

    def text(self) -> str:
        """The file's text."""
        value = {
            "schema": VERSION,
            "claim": _claim(self.record, self.name),
            "record": spelled({**self.record.value(), "service": _text(self.record.service)}),
            "votes": base64.b64encode(self.packed).decode(),
            "key": self.key.hex(),
            **({} if self.witness is None else {"witness": self.witness.to_json()}),
        }
        return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_certificate(path: Path) -> CertificateFile:
    """The certificate in a file; raises BadRun if it is not one, Disproved if it contradicts itself.

    It may be signed; signatures are not checked here. The claim must follow from the record's counts, and the record must
    carry the digest of its content.
    """
    if not path.is_file():
        raise BadRun(f"{path}: expected a certificate file, found none")
    try:
        return parse_certificate(read_bounded(path, _MOST_BYTES))
    except BadRun as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise BadRun(f"{path}: expected a certificate, cannot read it ({error})") from error


def parse_certificate(content: bytes) -> CertificateFile:
    """The certificate that a file of this content is; raises as `read_certificate` does."""
    try:
        return _parse(content.decode())
    except BadRun:
        raise
    except (binascii.Error, ValueError) as error:
        raise BadRun(f"expected a certificate, cannot read it ({error})") from error


def check_certificates_folder(folder: Path) -> None:
    """Raises BadRun where certificates cannot be written to `folder` without overwriting something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadRun(f"{folder}: choose a new or empty folder for --certificates")


def write_certificates(run: Run, folder: Path) -> list[Path]:
    """`folder` holds one certificate for each image of the finished run, named by its position.

    Abstentions get one too: leaving them out would hide how many there are.
    """
    if run.key is None:
        raise BadRun(f"{run.folder}: expected a finished run, whose key is revealed: continue with --resume")
    names: Sequence[str] | None = run.header.get("class_names")
    witness = witness_of(run.folder, run.header)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for record in in_order(run.records):
            known = names is not None and isinstance(record.answer, int) and 0 <= record.answer < len(names)
            name = names[int(record.answer)] if known and names is not None and record.answer is not None else None
            samples = record.selection["trials"] + record.estimation["trials"]
            whole = CertificateFile(record, read_packed(run.folder, record.votes, samples), run.key, name, witness)
            path = folder / f"{record.index:06d}.json"
            write_whole(path, whole.text().encode())
            written.append(path)
    except OSError as error:
        raise BadRun(f"{folder}: certificates cannot be written there ({error.strerror})") from error
    return written


def _parse(text: str) -> CertificateFile:
    value = _json(text)
    if Envelope.is_one(value):
        envelope = Envelope.from_json(value)
        inside = envelope.payload.decode()
        if Envelope.is_one(_json(inside)):
            raise BadRun("expected a certificate in the envelope, got another envelope")
        return replace(_parse(inside), envelope=envelope)
    version = value.get("schema") if isinstance(value, dict) else None
    if version not in (VERSION, _VERSION_1):
        raise BadRun(f"expected a certificate of schema {VERSION}, got {version!r}")
    check_certificate(value, old=version == _VERSION_1)
    told = value["record"]
    if version == _VERSION_1:
        told = _numbers(told, _DECIMALS_1)
        if "mode" in told:
            told["mode"] = _numbers(told["mode"], ("radii", "lambda"))
    else:
        told = unspelled(told)
    if told["service"] is not None:
        told["service"] = strict_json(told["service"])
    record = Record.parse(canonical_json(told))
    if value["claim"] != _claim(record, value["claim"]["name"], old=version == _VERSION_1):
        raise Disproved("the claim does not follow from the counts in the record")
    return CertificateFile(
        record,
        base64.b64decode(value["votes"], validate=True),
        bytes.fromhex(value["key"]),
        value["claim"]["name"],
        Witness.from_json(value["witness"]) if "witness" in value else None,
    )


def _claim(record: Record, name: str | None, *, old: bool = False) -> dict[str, Any]:
    claim = {
        "label": record.answer,
        "name": name,
        "norm": decimal(record.question.norm),
        "radius": record.radius,
        "alpha": decimal(record.question.alpha),
        "space": SPACE,
    }
    if record.cover is not None:
        claim["against"] = f"{certificate_of(record).against}; {record.cover['by']}"
    return claim if old else {**claim, "chosen_afterwards": record.chosen_afterwards}


def _text(service: dict[str, Any] | None) -> str | None:
    """What a record says of a service is the provider's own: kept as text, whatever is in it."""
    return None if service is None else canonical_json(service)


def _numbers(value: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The same with these fields, or the items of these lists, as floats again."""

    def number(part: Any) -> Any:
        return [float(item) for item in part] if isinstance(part, list) else part if part == "inf" else float(part)

    return {name: number(part) if name in names else part for name, part in value.items()}


def _json(text: str) -> Any:
    if (values := text.count(",")) > _MOST_VALUES:
        raise BadRun(f"expected a certificate of at most {_MOST_VALUES:,} values, got {values:,}")
    return strict_json(text, parse_float=_refuse, parse_constant=_refuse)


def _refuse(text: str) -> Any:
    raise BadRun(f"expected numbers that are not whole as decimal strings, got {text[:40]}")
