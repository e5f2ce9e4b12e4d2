"""Record: everything that one certificate rests on, as one line of JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from dsmooth.errors import BadRun
from dsmooth.records.digests import canonical_json, digest_json
from dsmooth.theory.certificate import Certificate, Certifier, Votes, certifier_named, round_down
from dsmooth.theory.noises import Gaussian, check_norm

__all__ = ["SCHEMA", "Record", "certificate_of", "radius_text", "votes_from_json", "votes_to_json"]

SCHEMA: Final = 1
_PLACES = 9  # decimals of a radius: rounded down


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image of a run. Counts are what counts: `answer` and `radius` follow from them and are for reading."""

    index: int
    name: str
    image: str
    shape: tuple[int, int, int]
    decoding: tuple[str, ...]
    label: int | None
    answer: int | str | None
    radius: str
    norm: float | str
    alpha: float
    n0: int
    n: int
    certifier: str
    law: str
    sigma: float
    selection: dict[str, Any]
    estimation: dict[str, Any]
    votes: dict[str, Any]
    generator: str
    key: dict[str, str]
    classifier: str
    denoiser: str | None
    dtype: str
    backend: str
    batch: tuple[int, ...]
    versions: dict[str, str]
    seconds: float
    nondeterministic: bool = False
    service: dict[str, Any] | None = None
    """Where the classifier is a service: what was sent, how its answers became votes, and its model's version."""
    previous: str = ""
    digest: str = ""
    schema: int = SCHEMA

    @property
    def noise(self) -> Gaussian:
        return Gaussian(self.sigma)

    @property
    def dim(self) -> int:
        """Coordinates of the image that the noise was added to."""
        return math.prod(self.shape)

    def line(self) -> str:
        """The record as it stands in records.jsonl, without the line's end."""
        return canonical_json(asdict(self))

    def sealed(self, previous: str) -> Record:
        """The record with the digest of the one before it, and its own, which covers everything else in it."""
        open_record = replace(self, previous=previous, digest="")
        return replace(open_record, digest=digest_json(asdict(open_record)))

    @classmethod
    def parse(cls, line: str) -> Record:
        """The record of a line; raises BadRun (with what is wrong) for anything that is not exactly a sealed record.

        Its digest is checked, and so is what follows from its counts: trials, answer and radius.
        """
        value = json.loads(line, object_pairs_hook=_no_duplicates)
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            got = value.get("schema") if isinstance(value, dict) else type(value).__name__
            raise BadRun(f"expected a record of schema {SCHEMA}, got {got!r}")
        names = {field.name for field in fields(cls)}
        if value.keys() != names:
            raise BadRun(f"expected the fields of schema {SCHEMA}, differing in {sorted(value.keys() ^ names)}")
        for name in ("shape", "decoding", "batch"):
            value[name] = tuple(value[name])
        record = cls(**value)
        if record.line() != line or record.sealed(record.previous) != record:
            raise BadRun("expected a record with the digest of its content, got another digest")
        if (record.selection["trials"], record.estimation["trials"]) != (record.n0, record.n):
            raise BadRun(f"expected {record.n0} and {record.n} trials, got {record.selection} and {record.estimation}")
        certificate = certificate_of(record)
        if (certificate.label, radius_text(certificate.radius)) != (record.answer, record.radius):
            raise BadRun(
                f"expected the answer and radius that follow from the counts, {certificate.label} and "
                f"{radius_text(certificate.radius)}, got {record.answer} and {record.radius}"
            )
        return record


def votes_to_json(votes: Votes) -> dict[str, Any]:
    """Counts as pairs (JSON object keys could not tell 1 from "1"), highest first, and the missing spelled out."""
    return {"counts": [list(pair) for pair in votes.ranked()], "missing": votes.missing, "trials": votes.trials}


def votes_from_json(value: Any) -> Votes:
    """The votes again; raises BadRun unless counts, missing and trials agree."""
    try:
        votes = Votes(dict(value["counts"]), value["trials"])
        agree = votes.missing == value["missing"] and len(votes.counts) == len(value["counts"])
    except (TypeError, KeyError, ValueError) as error:
        raise BadRun(f"expected votes as counts, missing and trials: {error}") from error
    if not agree or not all(isinstance(label, (int, str)) for label in votes.counts):
        raise BadRun(f"expected counts and missing votes that sum to the trials, got {value}")
    return votes


def certificate_of(record: Record, certifier: Certifier | None = None) -> Certificate:
    """The certificate that follows from the record's counts: the record's own certifier unless another is given."""
    return (certifier or certifier_named(record.certifier)).certify(
        votes_from_json(record.selection),
        votes_from_json(record.estimation),
        record.noise,
        alpha=record.alpha,
        norm=check_norm(record.norm),
        dim=record.dim,
    )


def radius_text(radius: float) -> str:
    """A radius as a decimal string, rounded down."""
    return round_down(radius, _PLACES)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadRun("expected each field once, got one twice")
    return value
