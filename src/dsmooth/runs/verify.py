"""Check what was certified: counts, chain, votes, key; and images, networks and a replay of votes where they are at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from dsmooth.errors import Disproved
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.records.certificate_file import read_certificate
from dsmooth.records.digests import digest_image
from dsmooth.records.keys import commitment_of
from dsmooth.records.schema import Record, votes_from_json
from dsmooth.records.sidecar import read_packed, unpack_votes
from dsmooth.records.store import read_run
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.votes import Label, Votes

if TYPE_CHECKING:  # what needs no network needs no torch
    from dsmooth.classifiers.base import Classifier
    from dsmooth.denoisers.base import Denoiser
    from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["Check", "Evidence", "Outcome", "read_evidence", "size_of_images", "verify_evidence", "verify_networks"]


class Outcome(StrEnum):
    """What came of a check."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "not checked"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class Evidence:
    """The records of a run or of one certificate file, with their votes and the revealed key."""

    records: Sequence[Record]
    key: bytes | None
    packed: Callable[[Record], bytes]
    chained: bool
    """Whether each record was found to follow from the one before, and the end to be sealed."""

    def labels(self, record: Record) -> list[Label | None]:
        """One label a sample; raises BadRun unless the votes are those that the record names."""
        trials = record.selection["trials"] + record.estimation["trials"]
        return list(unpack_votes(self.packed(record), record.votes, trials))


def read_evidence(path: Path) -> Evidence:
    """A run folder or a certificate file, read and found consistent: counts, bounds, radii, digests, chain.

    Raises BadRun where it cannot be read, Disproved where it contradicts itself.
    """
    if path.is_dir():
        run = read_run(path)
        return Evidence(run.records, run.key, lambda record: read_packed(path, record.votes), True)
    one = read_certificate(path)
    return Evidence([one.record], one.key, lambda record: one.packed, False)


def verify_evidence(evidence: Evidence, images: ImageSet | None) -> Iterator[Check]:
    """Everything that needs no network."""
    many = f"{len(evidence.records)} certificate{'s' * (len(evidence.records) != 1)}"
    yield Check("counts", Outcome.HOLDS, f"label and radius of {many} follow from the votes, rounded down")
    if evidence.chained:
        sealed = "nothing was added or cut off at the end" if evidence.key else "the run is unfinished: its end is open"
        yield Check("chain", Outcome.HOLDS, f"each record names the one before; {sealed}")
    yield _all(
        "votes", evidence.records, lambda record: _votes_sum_up(evidence, record), "the packed votes sum to the counts"
    )
    yield _key(evidence)
    if images is None:
        yield Check("images", Outcome.OPEN, "give --images to compare them")
    else:
        yield _all(
            "images", evidence.records, lambda record: _same_image(images, record), "the pixels are those certified"
        )


def verify_networks(
    evidence: Evidence,
    images: ImageSet | None,
    classifier: Classifier,
    denoiser: Denoiser | None,
    share: float,
    *,
    on_votes: Callable[[int], None] = lambda count: None,
) -> Iterator[Check]:
    """The digests of the networks, and a replay of a random `share` of the votes of each image."""
    from dsmooth.smoothing.pipeline import denoiser_digest

    given = {"classifier": classifier.digest(), "denoiser": denoiser_digest(denoiser)}
    for what, digest in given.items():
        others = [record.name for record in evidence.records if getattr(record.asked, what) != digest]
        outcome = Outcome.FAILS if others else Outcome.HOLDS
        detail = f"{others[0]} and others were certified with another one" if others else "this is the one"
        yield Check(what, outcome, detail)
    if images is not None:
        yield _replay(evidence, images, classifier, denoiser, share, on_votes)


def size_of_images(records: Sequence[Record]) -> int | None:
    """The side to which image files were cut, from what their records say of it; None where they were left as they are."""
    cut = [record.shape[0] for record in records if any(step.startswith("centre ") for step in record.decoding)]
    return cut[0] if cut else None


def _all(what: str, records: Sequence[Record], fault: Callable[[Record], str | None], good: str) -> Check:
    for record in records:
        try:
            wrong = fault(record)
        except Disproved as error:
            wrong = str(error)
        if wrong is not None:
            return Check(what, Outcome.FAILS, f"{record.name}: {wrong}")
    return Check(what, Outcome.HOLDS, good)


def _votes_sum_up(evidence: Evidence, record: Record) -> str | None:
    labels = evidence.labels(record)
    first = record.selection["trials"]
    for phase, told, part in (
        ("selection", record.selection, labels[:first]),
        ("estimation", record.estimation, labels[first:]),
    ):
        counts = Counter(label for label in part if label is not None)
        if Votes(counts, len(part)) != votes_from_json(told):
            return f"the packed votes of the {phase} do not sum to its counts"
    return None


def _key(evidence: Evidence) -> Check:
    if evidence.key is None:
        return Check("key", Outcome.OPEN, "the run is unfinished, its key is still secret")
    key = evidence.key
    if not all(record.addressed for record in evidence.records):
        return Check(
            "key",
            Outcome.OPEN,
            "votes of an older version: their noise does not follow from all that was asked, so alpha, n or the bound "
            "may have been chosen after the votes",
        )
    if any(commitment_of(key) != record.key["commitment"] for record in evidence.records):
        return Check("key", Outcome.FAILS, "the revealed key is not the one that was committed to")
    for record in evidence.records:
        master = MasterKey(key, record.key["source"])
        for phase, stream in master.streams(record.asked, record.image).items():
            if stream.hex() != record.key.get(phase.value):
                return Check("key", Outcome.FAILS, f"{record.name}: the {phase} noise does not follow from the key")
    told = ["the noise follows from the key that was committed to"]
    if any(record.key["source"] == "seed" for record in evidence.records):
        told.append("which is a user's seed: whoever chose it could try several")
    if any(record.chosen_afterwards for record in evidence.records):
        told.append("but what is claimed was chosen after the votes were known")
    if (attempt := max((record.attempt for record in evidence.records), default=1)) > 1:
        told.append(f"attempt {attempt} at the same question")
    return Check("key", Outcome.HOLDS, ", ".join(told))


def _image_of(images: ImageSet, record: Record) -> LabelledImage | None:
    found = images.find(record.name)
    return images[0] if found is None and len(images) == 1 else found


def _same_image(images: ImageSet, record: Record) -> str | None:
    image = _image_of(images, record)
    if image is None:
        return "is not among the images"
    return None if digest_image(image.pixels) == record.image else "these are other pixels than those certified"


def _replay(
    evidence: Evidence,
    images: ImageSet,
    classifier: Classifier,
    denoiser: Denoiser | None,
    share: float,
    on_votes: Callable[[int], None],
) -> Check:
    from dsmooth.runs.replay import replay_votes, smoothed_like

    if classifier.traits.billed:
        return Check("replay", Outcome.OPEN, "a service is not asked again: dsmooth recertify reads its logged answers")
    made: dict[tuple[object, ...], SmoothedClassifier] = {}
    asked = same = 0
    different: Mapping[str, None] = {}
    for record in evidence.records:
        image = _image_of(images, record)
        if image is None or digest_image(image.pixels) != record.image:
            return Check("replay", Outcome.OPEN, f"{record.name}: these are not its pixels")
        circumstances = (record.law, record.asked.backend, record.asked.dtype, record.batch[0])
        if circumstances not in made:
            made = {circumstances: smoothed_like(record, classifier, denoiser)}
        replay = replay_votes(made[circumstances], record, evidence.labels(record), image, share, on_votes=on_votes)
        asked, same = asked + replay.asked, same + replay.same
        different = {**different, **dict.fromkeys(replay.circumstances)}
    agreement = f"{same:,} of {asked:,} votes are the same"
    if same == asked:
        return Check("replay", Outcome.HOLDS, agreement)
    if different:
        return Check("replay", Outcome.OPEN, f"{agreement}; cannot be exact here: {', '.join(different)}")
    return Check("replay", Outcome.FAILS, agreement)
