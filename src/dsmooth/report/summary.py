"""From records to certified accuracy, abstention and totals."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.cascade import CascadeRun
from dsmooth.records.changed import ChangedRun
from dsmooth.records.question import Question
from dsmooth.records.record_file import in_order
from dsmooth.records.schema import certificate_of
from dsmooth.records.store import Run
from dsmooth.report.claims import Claims
from dsmooth.theory.accuracy import population_lower_bound
from dsmooth.theory.cascade import CascadeCertificate, is_one_scale
from dsmooth.theory.certifiers import Certificate, Certifier, Cohen, Multiclass
from dsmooth.theory.changed import paired_named
from dsmooth.theory.laws.base import EnumeratedLaw
from dsmooth.theory.top_k import top_k_named

__all__ = ["DELTA", "Cell", "RunSummary", "Summary", "marked", "names_of", "summarise"]

DELTA: Final = 0.05
"""At each radius, under each certifier, the bounds of all runs hold together with probability at least 1 - DELTA."""

_CERTIFIERS: Final[tuple[Certifier, ...]] = (Multiclass(), Cohen())
_TAILS: Final = (0.5, 0.3085375, 0.1586553, 0.0668072, 0.0227501, 0.0013499)
"""Of 0, 1/2, 1, 3/2, 2 and 3 standard deviations."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Certified accuracy at one radius: the share of the images, and a lower bound on that of the population.

    Without labels it is the share of the images with any certified answer, and there is no bound. Copies of an image count
    as one draw from the population.
    """

    share: float
    bound: float | None


@dataclass(frozen=True)
class RunSummary:
    """One run under one certifier."""

    run: int
    """Its index among the runs; one past the last for what they certify together."""
    main: bool
    """Under the bound that is shown first: multiclass, or the run's own where that is special or the only valid one."""
    name: str
    """The name of its folder (numbered where several have it), with caveats about the run in brackets."""
    noise: str
    certifier: str
    certificates: Sequence[Certificate | CascadeCertificate]
    labels: Sequence[int | None]
    reached: npt.NDArray[np.float64]
    """The radii of the images certified for the right label (any label, where it is unknown), ascending."""
    least: npt.NDArray[np.float64] | None
    """For each distinct image, in the order of digests, the least of its copies' radii, -1 where one is not certified for
    the right label; None where nothing is said of a population."""
    images: bytes
    """A digest of all images with their labels, whatever their order."""
    cells: tuple[Cell, ...]
    abstained: float
    average_radius: float
    complete: bool

    def share(self, radius: float) -> float:
        """The share of the images certified for the right label beyond this radius."""
        return _beyond(self.reached, radius) / len(self.labels)


@dataclass(frozen=True)
class Summary:
    """Several runs side by side; the main row of each run comes first."""

    runs: tuple[Run, ...]
    radii: tuple[float, ...]
    rows: tuple[RunSummary, ...]
    envelope: dict[str, tuple[Cell, ...]]
    """By certifier; empty unless there are several finished runs on the same images, none with options chosen afterwards."""
    norm: float
    alpha: float
    labelled: bool
    samples: int
    seconds: float
    samples_if_fixed: int
    """Samples that mode fixed would have drawn."""

    @property
    def certain(self) -> bool:
        """Whether certificates are deterministic: all outcomes of the noise were evaluated."""
        return self.alpha == 0.0

    @property
    def what(self) -> str:
        """The name of the share: accuracy where labels are known."""
        return "certified accuracy" if self.labelled else "share certified"


def summarise(
    runs: Sequence[Run],
    radii: Sequence[float] | None = None,
    *,
    cohen: bool = True,
    together: CascadeRun | ChangedRun | None = None,
) -> Summary:
    """The table behind every report: each run under the multiclass bound and under Cohen's, from the same counts.

    Without `cohen`, under the former only. What runs certify `together` (the scales of a cascade, or the votes of a former
    classifier and the pairs with the changed one) has its own row, which comes last.
    A run that stopped early appears only under the bound of its mode, the only valid one for its votes.
    Raises BadRun for runs without records, and for runs that differ in norm or alpha, which do not fit in one table.
    """
    for run in runs:
        if not run.records:
            raise BadRun(f"{run.folder}: expected at least one finished image, found none")
    first = runs[0].records[0].question
    columns = [_read(run, runs[0], first) for run in runs]
    labelled = all(None not in each.labels for each in columns)
    chosen = tuple(sorted(set(radii))) if radii is not None else _default_radii(runs, max(each.dim for each in columns))
    if not chosen or not all(0.0 <= radius < float("inf") for radius in chosen):
        raise BadParameter(f"radii must be finite numbers of at least 0, got {list(chosen)}")
    names = names_of(runs)
    rows = tuple(
        _row(runs, i, place, names[i], columns[i], chosen, labelled)
        for place in range(max(len(_bounds(run)) for run in runs))
        for i, run in enumerate(runs)
        if place < len(_bounds(run)) and (place == 0 or cohen)
    )
    if together is not None:
        rows += (_row_of_all(together, len(runs), chosen, labelled),)
    # an envelope over other images, over images that are not done yet, or over what was chosen afterwards, means nothing
    comparable = len(runs) > 1 and together is None and all(row.complete for row in rows)
    comparable = comparable and not any(run.chosen_afterwards for run in runs)
    comparable = comparable and len({row.images for row in rows}) == 1
    return Summary(
        runs=tuple(runs),
        radii=chosen,
        rows=rows,
        envelope=_envelopes(rows, len(runs)) if comparable else {},
        norm=first.norm,
        alpha=first.alpha,
        labelled=labelled,
        samples=sum(each.drawn for each in columns),
        seconds=sum(each.seconds for each in columns),
        samples_if_fixed=sum(each.fixed for each in columns),
    )


@dataclass
class _Columns:
    """What a summary needs of a run, from one pass over its records, in the order of the images."""

    labels: list[int | None] = field(default_factory=list)
    claims: tuple[Claims, ...] = ()
    """Under each bound under which the run stands."""
    images: _Distinct = field(default_factory=lambda: _Distinct())
    digest: bytes = b""
    """Of all images with their labels, whatever their order."""
    drawn: int = 0
    seconds: float = 0.0
    fixed: int = 0
    dim: int = 0


class _Distinct:
    """Which of the images of a run are copies of each other."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._labelled = bytearray()

    def append(self, image: str, label: int | None) -> None:
        self._digests += hashlib.sha256(image.encode()).digest()
        self._labelled += hashlib.sha256(f"{image} {label}".encode()).digest()

    def digest(self) -> bytes:
        """Of all images with their labels, whatever their order."""
        return hashlib.sha256(np.sort(np.frombuffer(self._labelled, "S32")).tobytes()).digest()

    def least(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The least of the values of the copies of each image."""
        _, which = np.unique(np.frombuffer(self._digests, "S32"), return_inverse=True)
        least = np.full(int(which.max()) + 1, np.inf)
        np.minimum.at(least, which, values)
        return least


def _read(run: Run, other: Run, asked: Question) -> _Columns:
    """The columns of a run; raises BadRun where it was asked for another norm or alpha than the other one."""
    certifiers = _bounds(run)
    made = _Columns(claims=tuple(Claims() for _ in certifiers))
    for record in in_order(run.records):
        question = record.question
        if (question.norm, question.alpha) != (asked.norm, asked.alpha):
            raise BadRun(
                f"{run.folder} was certified in norm {question.norm:g} at alpha {question.alpha:g}, "
                f"{other.folder} in norm {asked.norm:g} at alpha {asked.alpha:g}: report them separately"
            )
        for claims, certifier in zip(made.claims, certifiers, strict=True):
            claims.append(certificate_of(record, certifier))
        made.labels.append(record.label)
        made.images.append(record.image, record.label)
        made.drawn += record.drawn
        made.seconds += record.seconds
        made.fixed += question.n0 + question.n
        made.dim = max(made.dim, record.dim)
    made.digest = made.images.digest()
    return made


def names_of(runs: Sequence[Run]) -> list[str]:
    """The names of their folders, numbered where several have the same."""
    names = [run.folder.resolve().name for run in runs]
    return [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, start=1)]


def marked(run: Run, name: str | None = None) -> str:
    """Its name, by default that of its folder, with caveats about its certificates in brackets."""
    marks = {
        "unfinished": len(run.records) != run.images,
        f"one scale of a cascade, {len(run.records)} images": is_one_scale(run.question.bound),
        "pairs of votes, which alone promise nothing": paired_named(run.question.bound) is not None,
        "chosen after the votes": run.chosen_afterwards,
        "made by an older version: not verifiable": not run.addressed,
    }
    told = "; ".join(mark for mark, holds in marks.items() if holds)
    return (name or run.folder.resolve().name) + (f" ({told})" if told else "")


def _default_radii(runs: Sequence[Run], dim: int) -> tuple[float, ...]:
    """The radii of the runs' modes, or those of six shares of votes under the weakest noise, in the runs' norm."""
    asked = {radius for run in runs for radius in run.question.mode.radii}
    if asked:
        return tuple(sorted(asked))
    radii = [
        min(run.question.law.radius(tail=tail, rival=tail, norm=run.question.norm, dim=dim) for run in runs)
        for tail in _TAILS
    ]
    return tuple(float(f"{radius:.4g}") for radius in radii)


def _row(
    runs: Sequence[Run], i: int, place: int, name: str, columns: _Columns, radii: Sequence[float], labelled: bool
) -> RunSummary:
    run, delta, count = runs[i], DELTA / len(runs), len(columns.labels)
    certificates = columns.claims[place]
    values = _values(certificates, columns.labels)
    # nothing is said of the population from the first images of an unfinished run, which are no random draw, nor where
    # alpha is not what certificates are wrong with (the later scales of a cascade have images that the votes of others
    # chose)
    sound = labelled and count == run.images and not run.chosen_afterwards and not is_one_scale(run.question.bound)
    least = columns.images.least(values) if sound else None
    alpha = run.records[0].question.alpha
    cells = [
        Cell(_beyond(values, radius) / count, None if least is None else _population(least, radius, alpha, delta))
        for radius in radii
    ]
    reached = np.sort(values[values >= 0.0])
    return RunSummary(
        run=i,
        main=place == 0,
        name=marked(run, name),
        noise=str(run.question.law),
        certifier=certificates[0].certifier,
        certificates=certificates,
        labels=columns.labels,
        reached=reached,
        least=least,
        images=columns.digest,
        cells=tuple(cells),
        abstained=sum(certificate.abstained for certificate in certificates) / count,
        average_radius=float(reached.sum()) / count,
        complete=count == run.images,
    )


def _row_of_all(together: CascadeRun | ChangedRun, place: int, radii: Sequence[float], labelled: bool) -> RunSummary:
    records, certificates = together.records, together.certificates()
    labels, images = tuple(record.label for record in records), _Distinct()
    for record in records:
        images.append(record.image, record.label)
    values, alpha = _values(certificates, labels), records[0].question.alpha
    least = images.least(values) if labelled and together.fixed_in_advance else None
    cells = [
        Cell(
            _beyond(values, radius) / len(records), None if least is None else _population(least, radius, alpha, DELTA)
        )
        for radius in radii
    ]
    reached = np.sort(values[values >= 0.0])
    return RunSummary(
        run=place,
        main=True,
        name=f"{together.folder.resolve().name}{together.words}",
        noise=together.noise,
        certifier=together.rule,
        certificates=tuple(certificates),
        labels=labels,
        reached=reached,
        least=least,
        images=images.digest(),
        cells=tuple(cells),
        abstained=sum(certificate.abstained for certificate in certificates) / len(certificates),
        average_radius=float(reached.sum()) / len(certificates),
        complete=True,
    )


def _bounds(run: Run) -> tuple[Certifier | None, ...]:
    """The bounds under which its votes are shown, the main one first; None: their own.

    Votes of a run that stopped early, and exhaustive votes, allow no other; those of one scale of a cascade say no more
    under another, and pairs of votes nothing.
    """
    question = run.question
    if question.mode.looks or isinstance(question.law, EnumeratedLaw) or is_one_scale(question.bound):
        return (None,)
    if paired_named(question.bound) is not None:
        return (None,)
    special = question.plan.randomised or top_k_named(question.bound) is not None
    return (None, *_CERTIFIERS) if special else _CERTIFIERS


def _values(
    certificates: Iterable[Certificate | CascadeCertificate], labels: Sequence[int | None]
) -> npt.NDArray[np.float64]:
    """The radius of each image that is certified for the right label (any, where it is unknown); -1 of others."""
    pairs = zip(certificates, labels, strict=True)
    right = (c.radius if c.answer is not None and label in (None, c.answer) else -1.0 for c, label in pairs)
    return np.fromiter(right, np.float64, len(labels))


def _beyond(values: npt.NDArray[np.float64], radius: float) -> int:
    """How many are certified for the right label at distances up to and including `radius`."""
    return int((values > radius).sum())


def _population(least: npt.NDArray[np.float64], radius: float, alpha: float, delta: float) -> float:
    """The bound on the share of the population, in which copies of an image are one draw: right where all of them are."""
    return population_lower_bound(_beyond(least, radius), len(least), alpha, delta=delta)


def _envelopes(rows: Sequence[RunSummary], runs: int) -> dict[str, tuple[Cell, ...]]:
    """For each bound under which all runs stand, the best run at each radius.

    Each run's lower bound for the population holds at 1 - DELTA / runs, so the best of them is one at 1 - DELTA.
    """
    envelopes = {}
    for name in dict.fromkeys(row.certifier for row in rows):
        columns = list(zip(*(row.cells for row in rows if row.certifier == name), strict=True))
        if len(columns[0]) == runs:
            envelopes[name] = tuple(_best(column) for column in columns)
    return envelopes


def _best(cells: Sequence[Cell]) -> Cell:
    bounds = [cell.bound for cell in cells if cell.bound is not None]
    return Cell(max(cell.share for cell in cells), max(bounds) if bounds else None)
