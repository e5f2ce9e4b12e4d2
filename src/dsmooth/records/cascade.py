"""A cascade on disk: a run for each scale, strongest noise first, of the images that the previous run left undecided.

FOLDER/sigma-1, FOLDER/sigma-0.5, ...: each is an ordinary run, and can be resumed and verified as one. The certificates of
the cascade follow from the votes of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.question import Question, Role
from dsmooth.records.record_file import in_order
from dsmooth.records.schema import Record, votes_from_json
from dsmooth.records.store import Run, holds_run, images_of, open_run, read_run
from dsmooth.theory.cascade import Cascade, CascadeCertificate, ScaleVotes, cascade_of, is_one_scale, majority

__all__ = ["CascadeRun", "cascade_in", "read_cascade", "scale_folder", "undecided"]


@dataclass(frozen=True)
class CascadeRun:
    """The finished runs of the scales that were reached, strongest first; their votes fit together."""

    folder: Path
    cascade: Cascade
    scales: tuple[Run, ...]

    rule: ClassVar[str] = "cascade"
    words: ClassVar[str] = ""
    fixed_in_advance: ClassVar[bool] = True
    """No estimation vote has a part in what is asked of which image."""

    @property
    def noise(self) -> str:
        """The scales, strongest first."""
        return " > ".join(f"{sigma:g}" for sigma in self.cascade.sigmas)

    @property
    def records(self) -> list[Record]:
        """One record per image, of the strongest scale, in the order of the images."""
        return list(in_order(self.scales[0].records))

    def certificates(self, doubtful: Mapping[tuple[int, str], int] | None = None) -> list[CascadeCertificate]:
        """The cascade's certificate of each image, in the order of the images.

        doubtful: how many estimation votes may be wrong, by index of the scale and name of the image.
        """
        drawn: dict[str, list[ScaleVotes]] = {}
        for run in self.scales:
            for record in run.records:
                drawn.setdefault(record.name, []).append(
                    ScaleVotes(votes_from_json(record.selection), votes_from_json(record.estimation))
                )
        question = self.scales[0].question
        return [
            self.cascade.certify(
                drawn[record.name],
                alpha=question.alpha,
                norm=question.norm,
                dim=record.dim,
                doubtful=[(doubtful or {}).get((i, record.name), 0) for i in range(len(drawn[record.name]))],
            )
            for record in self.records
        ]


def scale_folder(folder: Path, sigma: float) -> Path:
    """Where the run of that scale is."""
    return folder / f"sigma-{sigma:g}"


def undecided(records: Sequence[Record]) -> list[str]:
    """The images, in order, that go on to the next scale: no label has a majority of the selection votes."""
    return [record.name for record in in_order(records) if majority(votes_from_json(record.selection)) is None]


def cascade_in(folder: Path) -> Cascade | None:
    """The cascade whose runs are in this folder; None where there is none, Disproved where they name several."""
    if holds_run(folder) or not folder.is_dir():
        return None
    bounds = {open_run(run).question.bound for run in folder.glob("sigma-*") if holds_run(run)}
    if not any(map(is_one_scale, bounds)):
        return None
    if len(bounds) > 1:
        raise Disproved(f"{folder}: its runs are not of one cascade: {', '.join(sorted(bounds))}")
    return cascade_of(bounds.pop())


def read_cascade(folder: Path) -> CascadeRun:
    """The cascade in this folder.

    Raises BadRun where there is none or it is unfinished, Disproved where its runs do not fit together.
    """
    cascade = cascade_in(folder)
    if cascade is None:
        raise BadRun(f"{folder}: expected the runs of a cascade (dsmooth certify --cascade), found none")
    runs: list[Run] = []
    for sigma in cascade.sigmas:
        place = scale_folder(folder, sigma)
        if not holds_run(place):
            break
        runs.append(read_run(place))
    for run, sigma in zip(runs, cascade.sigmas, strict=False):
        _check_scale(run, cascade, sigma, runs[0].question)
    for stronger, run in pairwise(runs):
        if images_of(run.records) != images_of(stronger.records, undecided(stronger.records)):
            raise Disproved(f"{run.folder}: these are not the images that {stronger.folder.name} left undecided")
    if not runs or (undecided(runs[-1].records) and len(runs) < len(cascade.sigmas)):
        following = scale_folder(folder, cascade.sigmas[len(runs)])
        raise BadRun(f"{folder}: the cascade is unfinished, {following.name} is missing: continue with --resume")
    return CascadeRun(folder, cascade, tuple(runs))


def _check_scale(run: Run, cascade: Cascade, sigma: float, first: Question) -> None:
    if run.chosen_afterwards or run.question.mode.looks or run.question.bound != cascade.bound.name:
        raise Disproved(f"{run.folder}: its votes were not drawn for a scale of this cascade")
    if len(run.records) != run.images:
        raise BadRun(f"{run.folder}: the run is unfinished, {len(run.records)} of {run.images}: continue with --resume")
    expected: dict[str, Any] = {**first.to_json(Role.SUBJECT, Role.CLAIM), "law": {"name": "gaussian", "sigma": sigma}}
    asked = run.question.to_json(Role.SUBJECT, Role.CLAIM)
    if strange := next((name for name in expected if asked[name] != expected[name]), None):
        raise Disproved(f"{run.folder}: its {strange} does not belong to this scale of the cascade")
