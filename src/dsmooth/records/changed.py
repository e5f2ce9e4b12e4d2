"""A changed classifier on disk: the run of the former one, and a run of pairs of votes of both.

FOLDER/before is the earlier run as it was, FOLDER/pairs a run like any other, whose labels are pairs of answers and whose
bound names the earlier run. What is promised of the changed classifier follows from their votes together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.digests import digest_json
from dsmooth.records.question import Question
from dsmooth.records.record_file import in_order
from dsmooth.records.schema import Record, votes_from_json
from dsmooth.records.store import Run, holds_run, images_of, open_run, read_run
from dsmooth.theory.certifiers import Certificate, Cohen, Multiclass
from dsmooth.theory.changed import Paired, certify_changed, is_promising, paired_named
from dsmooth.theory.laws.base import EnumeratedLaw
from dsmooth.theory.modes import FIXED
from dsmooth.theory.rules import certifier_named
from dsmooth.theory.votes import Votes

__all__ = ["BEFORE", "PAIRS", "ChangedRun", "holds_changed", "paired", "promising", "read_changed", "why_not_paired"]

BEFORE: Final = "before"
PAIRS: Final = "pairs"

_NONE: Final = Votes({}, 0)


@dataclass(frozen=True)
class ChangedRun:
    """The finished runs of the former classifier and of the pairs; their votes fit together."""

    folder: Path
    before: Run
    pairs: Run

    rule: ClassVar[str] = "changed"
    fixed_in_advance: ClassVar[bool] = False
    """How many pairs there are may have been decided when the former votes of all images were known."""

    @property
    def words(self) -> str:
        """What must be known of its certificates, in brackets."""
        return f" (a changed classifier: the votes of {BEFORE}, and {self.asked:,} pairs an image)"

    @property
    def noise(self) -> str:
        """The law."""
        return str(self.before.question.law)

    @property
    def records(self) -> list[Record]:
        """One an image, of the former classifier, in the order of the images."""
        return list(in_order(self.before.records))

    @property
    def asked(self) -> int:
        """How many pairs each of its images has that has any."""
        return self.pairs.question.n

    def certificates(self, doubtful: Mapping[str, tuple[int, int]] | None = None) -> list[Certificate]:
        """What is promised of the changed classifier about each image, in the order of the images.

        doubtful: by name of the image, how many estimation votes, and how many pairs, may be wrong.
        """
        drawn = {record.name: votes_from_json(record.estimation) for record in self.pairs.records}
        question = self.before.question
        return [
            certify_changed(
                votes_from_json(record.selection),
                votes_from_json(record.estimation),
                drawn.get(record.name, _NONE),
                question.law,
                alpha=question.alpha,
                norm=question.norm,
                dim=record.dim,
                doubtful=(doubtful or {}).get(record.name, (0, 0)),
            )
            for record in self.records
        ]


def paired(run: Run) -> Paired:
    """What pairs of votes beside this finished run are drawn for: its digest covers all that its claims follow from.

    Dates and seconds have no part in it: made again from the same seed, a run gets the same pairs.
    """
    votes = [
        [record.name, record.image, record.label, record.key, record.selection, record.estimation]
        for record in in_order(run.records)
    ]
    return Paired(digest_json({"question": run.question.to_json(), "votes": votes}))


def why_not_paired(run: Run) -> str | None:
    """Why nothing follows from this run's votes for a changed classifier; None where something does."""
    question = run.question
    if run.key is None or not run.records:
        return "the run is unfinished: go on with --resume"
    if not run.addressed:
        return "it was made by an older version, and its noise does not follow from all that was asked: certify anew"
    if run.chosen_afterwards:
        return "something that decides its claims was chosen after the votes: give the run that asked for them"
    if isinstance(question.law, EnumeratedLaw):
        return f"noise {question.law.name} leaves nothing to chance, and takes all its outcomes: certify anew"
    if question.mode != FIXED or not isinstance(certifier_named(question.bound), Cohen | Multiclass):
        return (
            "expected a run of mode fixed under the bound cohen or multiclass, whose votes can be counted at half of alpha, "
            f"got mode {question.mode.name} under {question.bound}"
        )
    return None


def promising(run: Run, pairs: int) -> list[str]:
    """The images, in their order, of which so many pairs would certify anything if all of them agreed."""
    question = run.question
    return [
        record.name
        for record in in_order(run.records)
        if is_promising(
            votes_from_json(record.selection),
            votes_from_json(record.estimation),
            pairs,
            question.law,
            alpha=question.alpha,
        )
    ]


def holds_changed(folder: Path) -> bool:
    """Whether pairs of votes of a former and a changed classifier were begun in this folder."""
    return holds_run(folder / PAIRS) and paired_named(open_run(folder / PAIRS).question.bound) is not None


def read_changed(folder: Path) -> ChangedRun:
    """The two runs in this folder.

    Raises BadRun where there are none or they are unfinished, Disproved where they do not fit together.
    """
    if not holds_changed(folder):
        raise BadRun(f"{folder}: expected {BEFORE} and {PAIRS} (dsmooth recertify --changed), found none")
    pairs = read_run(folder / PAIRS)
    if pairs.key is None or not holds_run(folder / BEFORE):
        raise BadRun(f"{folder}: the pairs are unfinished, {len(pairs.records)} of {pairs.images}: go on with --resume")
    before = read_run(folder / BEFORE)
    if (why := why_not_paired(before)) is not None:
        raise Disproved(f"{before.folder}: {why}")
    _check_asked(pairs, before)
    if images_of(pairs.records) != images_of(before.records, promising(before, pairs.question.n)):
        raise Disproved(f"{pairs.folder}: these are not the images of {before.folder} that pairs could certify")
    return ChangedRun(folder, before, pairs)


def _check_asked(pairs: Run, before: Run) -> None:
    """Circumstances too: in another precision it would be another former classifier."""
    if pairs.chosen_afterwards or pairs.question.bound != paired(before).name:
        raise Disproved(f"{pairs.folder}: its votes were not asked for as pairs beside {before.folder}")
    given: Question = pairs.question
    own = {
        "classifier": given.classifier,
        "preparation": given.preparation,
        "n0": 1,
        "n": given.n,
        "bound": given.bound,
    }
    expected, asked = {**before.question.to_json(), **own}, given.to_json()
    if strange := next((name for name in expected if asked[name] != expected[name]), None):
        raise Disproved(f"{pairs.folder}: it was asked with another {strange} than {before.folder}")
