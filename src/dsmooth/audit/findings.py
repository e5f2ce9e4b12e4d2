"""What an attack on a run found, one line an image, as it is written down and read again (no torch)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadRun
from dsmooth.records.files import bounded_lines, make_folder, open_to_append, open_to_read, write_whole
from dsmooth.records.reading import strict_json

__all__ = ["FOLDER", "Curve", "Finding", "Findings", "append_finding", "begin_findings", "curve_of", "read_findings"]

FOLDER: Final = "attack"
"""Within the run folder."""

_FILE: Final = "attack.jsonl"
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One attacked image: where it lies, what it answers, and whether its certificate forbids that."""

    name: str
    digest: str
    """Of the attacked image."""
    norm: float | str
    strength: str
    """The radius of the ball that the attack searched."""
    distance: str
    defended: bool
    """Whether the smoothed classifier was attacked, or the classifier alone."""
    label: int | None
    certified: int | str | None
    radius: str
    """The certified radius in this norm."""
    inside: bool
    """Closer than the certified radius, in exact arithmetic."""
    answer: int | str | None
    """Of the majority of the votes, or of the classifier alone; None where there is no answer."""
    sure: bool
    """Whether the majority is beyond chance at the attack's alpha."""
    votes: list[list[Any]]

    @property
    def flip(self) -> bool:
        """A confident answer that a certificate rules out."""
        return self.defended and self.inside and self.sure and self.answer != self.certified


@dataclass(frozen=True)
class Findings:
    """An attack on a run as it stands on disk."""

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
    """Shares of the attacked images at each strength: right without defence, right by majority, certified."""

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


def read_findings(folder: Path) -> Findings:
    """The attack in a folder; an unfinished last line is left out. Raises BadRun where it cannot be read."""
    path, lines = folder / _FILE, _whole_lines(folder)
    names = {field.name for field in fields(Finding)}
    images: dict[str, list[Finding]] = {}
    try:
        parameters = strict_json(next(lines, b""))
        if parameters.pop("schema") != _SCHEMA:
            raise BadRun(f"{path}: expected an attack of schema {_SCHEMA}")
        for line in lines:
            value = strict_json(line)
            if any(finding.keys() != names for finding in value["findings"]):
                raise BadRun(f"{path}: expected findings with the fields {', '.join(sorted(names))}")
            images[str(value["name"])] = [Finding(**finding) for finding in value["findings"]]
    except BadRun:
        raise
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise BadRun(f"{path}: expected the findings of an attack, cannot read them ({error})") from error
    return Findings(folder, parameters, images)


def _whole_lines(folder: Path) -> Iterator[bytes]:
    with open_to_read(folder / _FILE, inside=folder.parent) as file:
        yield from (line for line in bounded_lines(file) if line.endswith(b"\n"))


def curve_of(findings: Findings) -> Curve | None:
    """Accuracy against the strength of the attack; None where labels are missing or nothing was attacked."""
    norms = {float(f.norm) for f in findings.all if f.norm != "inf"}
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
