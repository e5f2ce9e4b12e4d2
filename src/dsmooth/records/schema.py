"""Record: everything that one certificate rests on, as one line of JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.digests import canonical_json, digest_json
from dsmooth.theory.bounds import round_down
from dsmooth.theory.certifiers import Certificate, Certifier
from dsmooth.theory.modes import FIXED, Mode
from dsmooth.theory.noises import Gaussian, check_norm
from dsmooth.theory.votes import StoppedVotes, Votes

__all__ = ["SCHEMA", "Record", "certificate_of", "no_duplicates", "radius_text", "votes_from_json", "votes_to_json"]

SCHEMA: Final = 2
_PLACES = 9  # decimals of a radius: rounded down
_NOT_FIXED: Final = frozenset({"mode", "reached", "drawn"})
"""Fields that are left out in mode fixed, where they say nothing."""


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
    attempt: int = 1
    service: dict[str, Any] | None = None
    """Where the classifier is a service: what was sent, how its answers became votes, and its model's version."""
    mode: dict[str, Any] = field(default_factory=FIXED.to_json)
    reached: dict[str, Any] | None = None
    """Where votes were looked at on the way: the votes at the look at which the radius held."""
    drawn: int | None = None
    """Where the mode is not fixed: the samples that were asked for, a few more than counted where a look came late."""
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

    @property
    def samples(self) -> int:
        """What the image cost: the samples asked for, selection and estimation together."""
        return self.n0 + self.n if self.drawn is None else self.drawn

    def line(self) -> str:
        """The record as it stands in records.jsonl, without the line's end."""
        return canonical_json(self.value())

    def value(self) -> dict[str, Any]:
        """What is spelled: all fields, and those that came with the modes only where the mode is not fixed."""
        value = asdict(self)
        if self.mode == FIXED.to_json():
            for name in _NOT_FIXED:
                del value[name]
        return value

    def sealed(self, previous: str) -> Record:
        """The record with the digest of the one before it, and its own, which covers everything else in it."""
        open_record = replace(self, previous=previous, digest="")
        return replace(open_record, digest=digest_json(open_record.value()))

    @classmethod
    def parse(cls, line: str) -> Record:
        """The record of a line; raises BadRun (with what is wrong) for anything that is not exactly a sealed record.

        Its digest is checked, and so is what follows from its counts: trials, answer and radius (Disproved).
        """
        try:
            return cls._parse(line)
        except BadRun:
            raise
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise BadRun(f"expected a record, got something else ({type(error).__name__}: {error})") from error

    @classmethod
    def _parse(cls, line: str) -> Record:
        value = json.loads(line, object_pairs_hook=no_duplicates)
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            got = value.get("schema") if isinstance(value, dict) else type(value).__name__
            raise BadRun(f"expected a record of schema {SCHEMA}, got {got!r}")
        names = {field.name for field in fields(cls)} - (set() if "mode" in value else _NOT_FIXED)
        if value.keys() != names:
            raise BadRun(f"expected the fields of schema {SCHEMA}, differing in {sorted(value.keys() ^ names)}")
        for name in ("shape", "decoding", "batch"):
            value[name] = tuple(value[name])
        record = cls(**value)
        if record.line() != line or record.sealed(record.previous) != record:
            raise Disproved("expected a record with the digest of its content, got another digest")
        if record.law != record.noise.law:
            raise BadRun(f"expected noise of the law {record.noise.law}, got {record.law!r}")
        record._check_trials()
        certificate = certificate_of(record)
        follows = (certificate.label, radius_text(certificate.radius), certificate.certifier)
        if follows != (record.answer, record.radius, record.certifier):
            raise Disproved(
                f"expected the answer, radius and bound that follow from the counts, {follows}, "
                f"got {(record.answer, record.radius, record.certifier)}"
            )
        return record

    def _check_trials(self) -> None:
        selected, estimated = self.selection["trials"], self.estimation["trials"]
        fixed = self.mode == FIXED.to_json()
        if selected != self.n0 or not 0 <= estimated <= self.n or (fixed and estimated != self.n):
            raise Disproved(f"expected {self.n0} and {self.n} trials, got {self.selection} and {self.estimation}")
        if self.samples < selected + estimated or (self.reached is not None) != Mode.from_json(self.mode).looks:
            raise Disproved(
                f"expected the votes that mode {self.mode['name']} leaves, got {self.reached}, {self.drawn} drawn"
            )


def votes_to_json(votes: Votes) -> dict[str, Any]:
    """Counts as pairs (JSON object keys could not tell 1 from "1"), highest first, and the missing spelled out."""
    return {"counts": [list(pair) for pair in votes.ranked()], "missing": votes.missing, "trials": votes.trials}


def votes_from_json(value: Any) -> Votes:
    """The votes again; raises BadRun unless counts, missing and trials agree."""
    try:
        votes = Votes(dict(value["counts"]), value["trials"])
        agree = votes.missing == value["missing"] and len(votes.counts) == len(value["counts"])
    except (ArithmeticError, TypeError, KeyError, ValueError) as error:
        raise BadRun(f"expected votes as counts, missing and trials: {error}") from error
    if not agree or not all(isinstance(label, (int, str)) for label in votes.counts):
        raise BadRun(f"expected counts and missing votes that sum to the trials, got {value}")
    return votes


def certificate_of(record: Record, certifier: Certifier | None = None) -> Certificate:
    """The certificate that follows from the record's counts, by the bound it was made with unless another is given.

    Votes that were looked at on the way allow no other bound than their own (BadParameter).
    """
    selection, estimation = votes_from_json(record.selection), votes_from_json(record.estimation)
    outcome = estimation if record.reached is None else StoppedVotes(estimation, votes_from_json(record.reached))
    mode, bound = (Mode.from_json(record.mode), record.certifier) if certifier is None else (FIXED, certifier)
    plan = mode.plan(bound, record.noise, n=record.n, alpha=record.alpha, norm=check_norm(record.norm))
    return plan.certify(selection, outcome, record.dim)


def radius_text(radius: float) -> str:
    """A radius as a decimal string, rounded down."""
    return round_down(radius, _PLACES)


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which a name may stand once only; raises BadRun otherwise."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadRun("expected each field once, got one twice")
    return value
