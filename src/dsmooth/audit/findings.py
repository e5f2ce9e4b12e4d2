"""The findings of an attack on a run, one line per image, written and read (no torch).

They are not sealed: they are whatever the attacker states. So they are only read where they match the run they lie in.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, get_type_hints

from dsmooth.errors import BadRun
from dsmooth.records.files import bounded_lines, make_folder, open_to_append, open_to_read, write_whole
from dsmooth.records.reading import strict_json
from dsmooth.records.schema import Record, certificate_of, radius_text
from dsmooth.records.store import Run
from dsmooth.records.typed import check_values
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.threats.known import THREATS

__all__ = [
    "FOLDER", "Curve", "Finding", "Findings", "append_finding", "begin_findings", "check_of_run", "curve_of",
    "read_findings",
]  # fmt: skip

FOLDER: Final = "attack"
"""Within the run folder."""

_FILE: Final = "attack.jsonl"
_SCHEMA: Final = 1
_PARAMETERS: Final = {
    "steps": int, "draws": int, "strengths": list[float | int], "n": int, "alpha": float, "seed": int,
}  # fmt: skip
_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,400})?(e-?[0-9]{1,3})?")
"""A decimal of few digits: exact arithmetic takes it at its word, and 1e999999999 has a billion."""
_PARAMETERS_OF: Final = re.compile(r"-?[0-9.]{1,30}(e-?[0-9]{1,3})?( -?[0-9.]{1,30}(e-?[0-9]{1,3})?)*")
"""Those of a family, one after another."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One attacked image: how far it is, its answer, and whether the certificate rules that out."""

    name: str
    digest: str
    """Of the attacked image."""
    norm: float | str
    """Of the ball that the attack searched; where it searched a family of transformations, the name of that."""
    strength: str
    """The radius of the ball, or the parameters that were found."""
    distance: str
    defended: bool
    """Whether the smoothed classifier was attacked, or the classifier alone."""
    label: int | None
    certified: int | str | None
    radius: str
    """The certified radius in this norm."""
    inside: bool
    """Closer than the certified radius, in exact arithmetic, or of the family that is certified."""
    answer: int | str | None
    """Of the majority of the votes, or of the classifier alone; None where there is no answer."""
    sure: bool
    """Whether the majority is beyond chance at the attack's alpha; of a certificate for the first few places, whether the
    certified answer surely has none of them."""
    votes: list[list[Any]]

    @property
    def where(self) -> str:
        """What was searched, and how far: l2 0.25, or contrast 0.83."""
        return f"l{float(self.norm):g} {self.strength}" if self.in_ball else f"{self.norm} {self.strength}"

    @property
    def claimed(self) -> str:
        """What the certificate covers there."""
        return f"within l{float(self.norm):g} {self.radius}" if self.in_ball else f"against {self.norm}"

    @property
    def in_ball(self) -> bool:
        """Whether a ball was searched, and no family of transformations."""
        return self.norm == "inf" or isinstance(self.norm, float)

    @property
    def flip(self) -> bool:
        """A confident answer that a certificate rules out."""
        return self.defended and self.inside and self.sure and self.answer != self.certified


@dataclass(frozen=True)
class Findings:
    """An attack on a run as stored on disk."""

    folder: Path
    parameters: Mapping[str, Any]
    images: Mapping[str, Sequence[Finding]]

    @property
    def all(self) -> list[Finding]:
        return [finding for one in self.images.values() for finding in one]

    @property
    def flips(self) -> list[Finding]:
        return [finding for finding in self.all if finding.flip]


@dataclass(frozen=True)
class Curve:
    """Shares of the attacked images at each strength: correct without defence, correct by majority, certified."""

    norm: float

    strengths: tuple[float, ...]
    undefended: tuple[float, ...]
    smoothed: tuple[float, ...]
    certified: tuple[float, ...]
    images: int


def begin_findings(folder: Path, parameters: Mapping[str, Any], *, resume: bool) -> Findings:
    """The findings so far, and a folder to add to; raises BadRun where another attack lies there."""
    path = folder / _FILE
    if path.exists():
        if not resume:
            raise BadRun(f"{folder} already holds an attack: pass --resume to continue it, or delete that folder")
        found = read_findings(folder)
        for name, value in parameters.items():
            if found.parameters.get(name) != value:
                raise BadRun(
                    f"{folder} was made with {name} {found.parameters.get(name)}, not {value}: delete that folder"
                )
        with open_to_append(path, inside=folder.parent) as file:
            file.truncate(sum(map(len, _whole_lines(folder))))  # a crash may have left an unfinished one
        return found
    try:
        make_folder(folder, inside=folder.parent)
        write_whole(path, json.dumps({"schema": _SCHEMA, **parameters}) + "\n", inside=folder.parent)
    except OSError as error:
        raise BadRun(f"{folder}: cannot be written ({error.strerror})") from error
    return Findings(folder, dict(parameters), {})


def append_finding(folder: Path, name: str, findings: Sequence[Finding]) -> None:
    """One image's findings are on disk."""
    line = json.dumps({"name": name, "findings": [asdict(finding) for finding in findings]})
    with open_to_append(folder / _FILE, inside=folder.parent) as file:
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def check_of_run(findings: Findings, run: Run) -> None:
    """Raises BadRun unless all of them are about images of this run, and say of these what the run says."""
    records = {record.name: record for record in run.records}
    for name, one in findings.images.items():
        record = records.get(name)
        certificate = None if record is None else certificate_of(record)
        for finding in one:
            told = (finding.name, finding.label, finding.certified, finding.radius)
            norm = float(finding.norm) if finding.in_ball else None
            if (
                record is None
                or certificate is None
                or told != (name, record.label, record.answer, _radius(certificate, norm))
                or not (finding.in_ball or _is_against(record, finding.norm))
            ):
                raise BadRun(
                    f"{findings.folder}: its entry for {finding.name!r:.100} belongs to another run than {run.folder}: "
                    "delete that folder, and attack again"
                )


def read_findings(folder: Path) -> Findings:
    """The attack in a folder; an unfinished last line is left out. Raises BadRun where it cannot be read."""
    path, lines = folder / _FILE, _whole_lines(folder)
    images: dict[str, list[Finding]] = {}
    try:
        parameters = strict_json(next(lines, b""))
        if parameters.pop("schema") != _SCHEMA:
            raise BadRun(f"expected an attack of schema {_SCHEMA}")
        check_values(parameters, _PARAMETERS)
        if min(parameters["strengths"], default=0) < 0:
            raise BadRun(f"expected strengths of at least 0, got {parameters['strengths'][:9]}")
        for line in lines:
            value = strict_json(line)
            images[str(value["name"])] = [_finding(finding) for finding in value["findings"]]
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise BadRun(f"{path}: expected the findings of an attack, cannot read them ({error})") from error
    return Findings(folder, parameters, images)


def _finding(value: Mapping[str, Any]) -> Finding:
    """The finding; raises BadRun for one that no attack writes down."""
    names = {field.name for field in fields(Finding)}
    if value.keys() != names:
        raise BadRun(f"expected findings with the fields {', '.join(sorted(names))}")
    check_values(value, get_type_hints(Finding))
    finding = Finding(**value)
    if finding.in_ball and float(finding.norm) < 1.0:
        raise BadRun(f"expected a norm from 1 to inf, got {finding.norm!r:.40}")
    if not finding.in_ball and finding.norm not in THREATS:
        raise BadRun(f"expected a norm from 1 to inf or one of {THREATS}, got {finding.norm!r:.40}")
    numbers = _NUMBER if finding.in_ball else _PARAMETERS_OF
    for name, kind in (("strength", numbers), ("distance", _NUMBER), ("radius", _NUMBER)):
        if not kind.fullmatch(value[name]):
            raise BadRun(f"expected {name} as a decimal number, got {value[name]!r:.40}")
    return finding


def _radius(certificate: Certificate, norm: float | None) -> str:
    """The certified radius in this norm; in the certificate's own where a family was searched."""
    return radius_text(certificate.radius if norm is None else certificate.radius_in(norm))


def _is_against(record: Record, name: object) -> bool:
    """Whether this record is about the family of that name."""
    threat = record.question.mode.against
    return threat is not None and threat.name == name


def _whole_lines(folder: Path) -> Iterator[bytes]:
    with open_to_read(folder / _FILE, inside=folder.parent) as file:
        yield from (line for line in bounded_lines(file) if line.endswith(b"\n"))


def curve_of(findings: Findings) -> Curve | None:
    """Accuracy against the strength of the attack; None where labels are missing or nothing was attacked."""
    norms = {f.norm for f in findings.all if isinstance(f.norm, float)}
    if len(norms) != 1:
        return None
    norm = norms.pop()
    strengths = tuple(findings.parameters["strengths"])
    shares: dict[bool, list[float]] = {True: [], False: []}
    certified = []
    for strength in strengths:
        for defended, share in shares.items():
            at = [
                f
                for f in findings.all
                if f.norm == norm and f.defended is defended and Fraction(f.strength) == Fraction(str(strength))
            ]
            if len(at) != len(findings.images) or not at or any(f.label is None for f in at):
                return None
            share.append(sum(f.answer == f.label for f in at) / len(at))
            if defended:
                certified.append(sum(f.certified == f.label and Fraction(f.radius) > strength for f in at) / len(at))
    return Curve(norm, strengths, tuple(shares[False]), tuple(shares[True]), tuple(certified), len(findings.images))
