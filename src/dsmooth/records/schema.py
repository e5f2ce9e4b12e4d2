"""Record: everything that one certificate rests on, as one line of JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.digests import canonical_json, digest_json
from dsmooth.records.keys import SOURCES
from dsmooth.records.legacy import NOT_RECORDED, upgraded
from dsmooth.records.question import Question
from dsmooth.records.reading import strict_json
from dsmooth.records.typed import check_types
from dsmooth.theory.bounds import round_down, weight_of
from dsmooth.theory.certifiers import Certificate, Certifier
from dsmooth.theory.covers import CoverVotes
from dsmooth.theory.laws.base import EnumeratedLaw, Law
from dsmooth.theory.modes import FIXED, Outcome
from dsmooth.theory.threats.covering import MOST_CENTRES
from dsmooth.theory.votes import Phase, StoppedVotes, Votes, check_label

__all__ = [
    "OPTIONAL", "SCHEMA", "Record", "certificate_of", "cover_to_json", "cover_votes", "radius_text", "votes_from_json",
    "votes_to_json",
]  # fmt: skip

SCHEMA: Final = 3
OPTIONAL: Final = frozenset({"cover"})
"""Fields that are left out where they are null."""

_MOST_SECONDS: Final = 1e9
_PLACES = 9  # decimals of a radius: rounded down


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image of a run. The counts decide: `answer` and `radius` follow from them, for readers' convenience."""

    index: int
    name: str
    image: str
    """Digest of the image."""
    shape: tuple[int, int, int]
    """Height, width, channels."""
    decoding: tuple[str, ...]
    """The preprocessing of the image before the noise, step by step."""
    label: int | None
    """The true class, where it is known."""
    answer: int | str | None
    radius: str
    asked: Question
    """The settings fixed before the first vote, on which the noise depends."""
    evaluated: Question | None = None
    """The settings of a later evaluation of the same votes, if they differ: these were chosen after the votes were known."""
    selection: dict[str, Any]
    estimation: dict[str, Any]
    reached: dict[str, Any] | None = None
    """For modes that stop early: the votes at the look at which the radius held."""
    drawn: int
    """Samples that were drawn; can be a few more than were counted where a look came late."""
    votes: dict[str, Any]
    key: dict[str, str]
    batch: tuple[int, ...]
    versions: dict[str, str]
    seconds: float
    nondeterministic: bool = False
    attempt: int = 1
    cover: dict[str, Any] | None = None
    """Where the claim is about a whole family of images: the radius of the cover (rho), what makes its images (by), and each
    of its centres with the digest of the image, its estimation and reached (null where it was not asked about). Left out of
    the line where there is none."""
    service: dict[str, Any] | None = None
    """Where the classifier is a service: what was sent, how its answers became votes, and its model's version."""
    previous: str = ""
    digest: str = ""
    schema: int = SCHEMA

    @property
    def question(self) -> Question:
        """The settings that the certificate is for."""
        return self.asked if self.evaluated is None else self.evaluated

    @property
    def chosen_afterwards(self) -> bool:
        """Whether a setting that affects the claim was chosen after the votes were known."""
        return self.evaluated is not None

    @property
    def addressed(self) -> bool:
        """Whether the noise depends on all settings: false for records of schemas 1 and 2, recertified or not."""
        return self.schema == SCHEMA and self.asked.preparation != NOT_RECORDED

    @property
    def law(self) -> Law:
        return self.asked.law

    @property
    def weight(self) -> float:
        """W of a randomised bound, from its stream; 1 under every other bound."""
        stream = self.key.get(Phase.BOUND.value)
        return weight_of(None if stream is None else bytes.fromhex(stream))

    @property
    def dim(self) -> int:
        """Coordinates of the image that the noise was added to."""
        return math.prod(self.shape)

    def line(self) -> str:
        """The record as it stands in records.jsonl, without the line's end."""
        return canonical_json(self.value())

    def value(self) -> dict[str, Any]:
        """All fields, as JSON."""
        value = {field.name: _spelled(getattr(self, field.name)) for field in fields(self)}
        return {name: part for name, part in value.items() if part is not None or name not in OPTIONAL}

    def sealed(self, previous: str) -> Record:
        """The record with the digest of the one before it, and its own, which covers everything else in it."""
        open_record = replace(self, previous=previous, digest="")
        return replace(open_record, digest=digest_json(open_record.value()))

    @classmethod
    def parse(cls, line: str) -> Record:
        """The record of a line; raises BadRun (with what is wrong) for anything that is not exactly a sealed record.

        Its digest is checked, and so is what follows from its counts: trials, answer and radius (Disproved). Records of
        schemas 1 and 2 are read too, as far as they say what schema 3 does; `schema` tells which it was.
        """
        try:
            return cls._parse(line)
        except BadRun:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise BadRun(f"expected a record, got something else ({type(error).__name__}: {error})") from error

    @classmethod
    def parse_again(cls, line: bytes, asked: Question, evaluated: Question | None) -> Record:
        """The record of a line that `parse` has read before, and that was found to say these questions.

        Nothing is checked, which takes a tenth of the time: the caller knows that the line is the same.
        """
        value = json.loads(line)
        if value["schema"] != SCHEMA:
            return cls.parse(line.decode())
        for name in ("shape", "decoding", "batch"):
            value[name] = tuple(value[name])
        return cls(**{**value, "asked": asked, "evaluated": evaluated})

    @classmethod
    def _parse(cls, line: str) -> Record:
        value = strict_json(line)
        version = value.get("schema") if isinstance(value, dict) else type(value).__name__
        if canonical_json(value) != line:
            raise Disproved("expected a record in its one spelling, got another")
        if version in (1, 2):
            value = upgraded(value)
        elif version != SCHEMA:
            raise BadRun(f"expected a record of schema {SCHEMA} or below, got {version!r}")
        names = {field.name for field in fields(cls)}
        if wrong := (value.keys() ^ names) - (OPTIONAL - value.keys()):
            raise BadRun(f"expected the fields of schema {SCHEMA}, differing in {sorted(wrong)}")
        for name in ("asked", "evaluated"):
            value[name] = None if value[name] is None and name == "evaluated" else Question.from_json(value[name])
        for name in ("shape", "decoding", "batch"):
            value[name] = tuple(value[name])
        record = cls(**value)
        record._check_fields()
        if record.evaluated is not None:
            record.asked.check_evaluated(record.evaluated, service=record.service is not None)
        if version == SCHEMA and record.sealed(record.previous) != record:
            raise Disproved("expected a record with the digest of its content, got another digest")
        if version == SCHEMA and record.line() != line:
            raise Disproved("expected each number in its one spelling, got another")
        record._check_trials()
        certificate = certificate_of(record)
        follows = (certificate.answer, radius_text(certificate.radius))
        if follows != (record.answer, record.radius):
            raise Disproved(
                f"expected the answer and radius that follow from the counts, {follows}, "
                f"got {(record.answer, record.radius)}"
            )
        return record

    def _check_fields(self) -> None:
        """Raises BadRun where a field is no such thing, which its digest alone does not say."""
        check_types(self)
        if min(self.shape) < 1 or len(self.batch) != 4 or min(self.batch) < 1:
            raise BadRun(f"expected an image and batches of at least one row, got {self.shape} in {self.batch}")
        if self.index < 0 or not 0.0 <= self.seconds <= _MOST_SECONDS:
            raise BadRun(f"expected an index and seconds of at least 0, got {self.index} and {self.seconds}")
        if "commitment" not in self.key:
            raise BadRun(f"expected the commitment to a key, got {sorted(self.key)}")
        if self.key.get("source") not in SOURCES:
            raise BadRun(f"expected a key from {' or '.join(SOURCES)}, got {self.key.get('source')!r:.100}")
        if self.addressed:
            length = 0 if isinstance(self.law, EnumeratedLaw) else 32
            for phase in self.asked.streams:
                if not re.fullmatch(f"[0-9a-f]{{{length}}}", self.key.get(phase.value, "none")):
                    raise BadRun(f"expected the {phase.value} stream as {length} hexadecimal digits, got another")
        if self.votes.keys() != {"file", "format", "labels", "sha256"} or not isinstance(self.votes["labels"], list):
            raise BadRun(f"expected votes as file, format, labels and sha256, got {sorted(self.votes)}")
        labels = [check_label(label) for label in self.votes["labels"]]
        if len({*labels}) != len(labels) or not all(isinstance(self.votes[name], str) for name in ("file", "sha256")):
            raise BadRun("expected votes with the name and digest of their file, and each label once")

    def _check_trials(self) -> None:
        question = self.question
        selected, estimated = self.selection["trials"], self.estimation["trials"]
        fixed = question.mode == FIXED
        looks = question.mode.looks
        most = question.n
        if (self.cover is not None) != (question.mode.against is not None):
            raise Disproved(f"expected a cover that fits mode {question.mode.name}, got {self.cover!r:.80}")
        if self.cover is not None:
            looks, most = False, question.n * len(self.cover["centres"])
            if votes_to_json(cover_votes(self).pooled) != self.estimation:
                raise Disproved("expected the estimation votes of all centres together, got others")
        if selected != question.n0 or not 0 <= estimated <= most or (fixed and estimated != question.n):
            raise Disproved(f"expected {question.n0} and {most} trials, got {self.selection} and {self.estimation}")
        if self.drawn < selected + estimated or (self.reached is not None) != looks:
            raise Disproved(
                f"expected votes that fit mode {question.mode.name}, got {self.reached}, {self.drawn} drawn"
            )


def votes_to_json(votes: Votes) -> dict[str, Any]:
    """Counts as pairs (JSON object keys could not tell 1 from "1"), highest first, and the missing spelled out."""
    return {"counts": [list(pair) for pair in votes.ranked()], "missing": votes.missing, "trials": votes.trials}


def votes_from_json(value: Any) -> Votes:
    """The votes again; raises BadRun for anything that `votes_to_json` does not write.

    Readers take the first of the counts for the highest one, so their order is checked too.
    """
    try:
        votes = Votes(dict(value["counts"]), value["trials"])
        same = canonical_json(votes_to_json(votes)) == canonical_json(value)
    except (ArithmeticError, TypeError, KeyError, ValueError) as error:
        raise BadRun(f"expected votes as counts, missing and trials: {error}") from error
    if not same:
        raise BadRun(
            f"expected counts, highest first, and missing votes that sum to the trials, got {str(value)[:300]}"
        )
    return votes


def certificate_of(record: Record, certifier: Certifier | None = None) -> Certificate:
    """The certificate that follows from the record's counts, by its own bound unless another is given.

    Votes of modes that stop early allow no other bound than their own (BadParameter); enumerated laws need none.
    """
    question = record.question
    selection, estimation = votes_from_json(record.selection), votes_from_json(record.estimation)
    outcome: Outcome = estimation
    if record.cover is not None:
        outcome = cover_votes(record)
    elif record.reached is not None:
        outcome = StoppedVotes(estimation, votes_from_json(record.reached))
    plan = question.plan
    if certifier is not None and not isinstance(record.law, EnumeratedLaw):
        plan = FIXED.plan(certifier, record.law, n=question.n, alpha=question.alpha, norm=question.norm)
    return plan.certify(selection, outcome, record.dim, record.weight)


def cover_to_json(votes: CoverVotes, centres: Sequence[str], by: str) -> dict[str, Any]:
    """A cover as records keep it: its radius, what makes its images, and the votes at each centre (its digest)."""
    parts = (*votes.parts, *[None] * (votes.centres - len(votes.parts)))
    return {
        "rho": repr(votes.rho),
        "by": by,
        "centres": [
            {
                "image": centre,
                "estimation": None if part is None else votes_to_json(part.last),
                "reached": None if part is None else votes_to_json(part.best),
            }
            for centre, part in zip(centres, parts, strict=True)
        ],
    }


def cover_votes(record: Record) -> CoverVotes:
    """The votes at the centres that a record of a cover names; raises BadRun for anything that is none."""
    cover, radii = record.cover or {}, {repr(rho): rho for rho in (0.0, *record.question.mode.radii)}
    if cover.keys() != {"rho", "by", "centres"} or not isinstance(cover["by"], str) or cover["rho"] not in radii:
        raise BadRun(f"expected a cover as centres, by and one of the radii in the settings, got {cover!r:.200}")
    centres = cover["centres"]
    if not isinstance(centres, list) or len(centres) > MOST_CENTRES:
        raise BadRun(f"expected at most {MOST_CENTRES} centres")
    parts: list[StoppedVotes] = []
    for place, centre in enumerate(centres):
        if not isinstance(centre, dict) or centre.keys() != {"image", "estimation", "reached"}:
            raise BadRun("expected centres as image, estimation and reached")
        if not isinstance(centre["image"], str) or not re.fullmatch("[0-9a-f]{64}", centre["image"]):
            raise BadRun("expected the digest of a centre as 64 hexadecimal digits")
        if centre["estimation"] is None:
            continue
        last = votes_from_json(centre["estimation"])
        if last.trials > record.question.n or len(parts) != place:
            raise Disproved(f"expected at most {record.question.n} votes at each centre, none after one without")
        parts.append(StoppedVotes(last, votes_from_json(centre["reached"])))
    if len({centre["image"] for centre in centres}) != len(centres):
        raise Disproved("expected each centre once")
    return CoverVotes(radii[cover["rho"]], len(centres), tuple(parts))


def _spelled(value: Any) -> Any:
    if isinstance(value, Question):
        return value.to_json()
    return list(value) if isinstance(value, tuple) else value


def radius_text(radius: float) -> str:
    """A radius as a decimal string, rounded down."""
    return round_down(radius, _PLACES)
