"""Check what was certified. Nothing is taken from the file on trust: it is recomputed, or reported as not verified.

Without networks, claims are recomputed from the packed votes (looks, numbers of votes, bounds, radii), the noise from the
revealed key, and digests, shapes, names and labels from the images. Votes could be made up, so only a verifier who has the
networks and recomputes a random share of the votes really verifies (replay.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadInput, BadRun, Disproved
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.records.certificate_file import CertificateFile, read_certificate
from dsmooth.records.digests import digest_image, digest_json, digest_list
from dsmooth.records.envelope import Envelope, name_of
from dsmooth.records.keys import commitment_of, count_attempts
from dsmooth.records.question import Question
from dsmooth.records.repeats import Repeats, mark
from dsmooth.records.schema import SCHEMA, Record, cover_votes
from dsmooth.records.sidecar import read_packed, unpack_votes
from dsmooth.records.store import RunHead, open_run
from dsmooth.records.witness import UNKEYED, Standing, Witness, witness_of
from dsmooth.runs.covers import chosen_cover, why_not_made_again
from dsmooth.runs.recount import Recount, differs, recount
from dsmooth.runs.witnessing import standing_of
from dsmooth.smoothing.chunks import GENERATOR, LIMITS, MasterKey
from dsmooth.theory.votes import Label

__all__ = [
    "Check", "Evidence", "Outcome", "data_digest", "evidence_of", "image_of", "read_evidence", "recounted",
    "signature_check", "size_of_images", "verify_evidence",
]  # fmt: skip


MOST_VOTES: Final = 1 << 24
"""Votes of one image that are unpacked: 600 kB stand for 300 million, and each takes memory while it is counted."""


class Outcome(StrEnum):
    """The outcome of a check."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "not checked"
    TOLD = "note"
    """For information only."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    what: str
    outcome: Outcome
    detail: str
    give: str = ""
    """What would let it be checked."""
    less: str = ""
    """What remains of the claims, where that is less than they state."""


@dataclass(frozen=True)
class Evidence:
    """The records of a run or of one certificate file, with their votes and the revealed key."""

    records: Iterable[Record]
    """They can be iterated over several times."""
    count: int
    key: bytes | None
    packed: Callable[[Record], bytes]
    run: RunHead | None
    """The run that they stand in; None for a certificate file."""
    name: str | None = None
    """What a certificate file calls its label."""
    witness: Witness | None = None
    """Alleged proof that the key was fixed before the noise could be known."""
    envelope: Envelope | None = None
    """The envelope of a certificate file, where it was signed."""

    @property
    def first(self) -> Record | None:
        return next(iter(self.records), None)

    def labels(self, record: Record) -> list[Label | None]:
        """One label a sample; raises BadRun unless the votes are those that the record names."""
        if (trials := _trials(record)) > MOST_VOTES:
            raise BadRun(
                f"{record.name}: expected at most {MOST_VOTES:,} votes, as many as can be checked, got {trials:,}"
            )
        return list(unpack_votes(self.packed(record), record.votes, trials))


def read_evidence(path: Path) -> Evidence:
    """A run folder or a certificate file, read and found consistent: digests, chain, what follows from counts.

    Raises BadRun where it cannot be read, Disproved where it contradicts itself.
    """
    if path.is_dir():
        run = open_run(path)
        _check_size(path, run.question)
        return Evidence(
            run.records,
            len(run.records),
            run.key,
            lambda record: read_packed(path, record.votes, _trials(record)),
            run,
            witness=witness_of(path, run.header),
        )
    one = read_certificate(path)
    _check_size(path, one.record.question)
    return evidence_of(one)


def evidence_of(one: CertificateFile) -> Evidence:
    """A certificate file as evidence."""
    return Evidence([one.record], 1, one.key, lambda record: one.packed, None, one.name, one.witness, one.envelope)


def verify_evidence(
    evidence: Evidence, images: ImageSet | None, key_standing: Standing | None = None
) -> Iterator[Check]:
    """All checks that need no network. `key_standing`: what is known of the key; by default, without trusted authorities."""
    if key_standing is None:
        key_standing = standing_of(evidence)
    faults = _Faults()
    streams = Repeats()
    for record in evidence.records:
        image = None if images is None else image_of(images, record, alone=evidence.run is None)
        faults.note("claims", record, _claim_fault(evidence, record, image))
        faults.note("circumstances", record, _circumstance_fault(record))
        faults.note("key", record, _key_fault(evidence, record))
        for stream in _streams(record):
            streams.add(stream)
        if images is not None:
            faults.note("images", record, _image_fault(record, image) or _place_fault(evidence, record, images))
            faults.note("labels", record, _label_fault(record, image))
    if twice := streams.found():
        holders: dict[str, str] = {}
        for record in evidence.records:
            faults.note("key", record, _shared_noise(record, holders, twice))
    many = f"{evidence.count} certificate{'s' * (evidence.count != 1)}"
    yield faults.check(
        "claims", f"label and radius of {many} follow from the votes, including looks and numbers of votes"
    )
    yield faults.check("circumstances", "batches and generator are consistent with the settings")
    if evidence.run is not None:
        yield from _run_checks(evidence.run, images)
    first = evidence.first
    if first is not None and first.cover is not None:
        yield _cover_check(evidence, images)
    if first is not None and first.chosen_afterwards:  # in a run all records have one question
        yield Check(
            "claim",
            Outcome.OPEN,
            "chosen after the votes: a setting that affects the claims was set when the votes were known",
            "a run whose settings were fixed first",
        )
    yield _key_check(evidence, faults, key_standing)
    if images is None:
        yield Check("images", Outcome.OPEN, "shape, pixels and labels are only what the file states", "--images")
        return
    yield faults.check("images", "the pixels and shapes are those certified")
    yield _label_check(evidence, images, faults)


def signature_check(evidence: Evidence, public_key: Any) -> Check:
    """Whether the certificate file was signed by this key (of `read_public_key`); None: no key is at hand.

    A signature says who vouches for a certificate, which holds with or without one: without a key nothing stays open.
    """
    envelope = evidence.envelope
    if public_key is None:
        names = [] if envelope is None else [name for name, _ in envelope.signatures]
        return Check(
            "signature", Outcome.TOLD, f"states that it is by {', '.join(names)[:80]}; pass --public-key to check"
        )
    if envelope is None:
        return Check("signature", Outcome.FAILS, "it is not signed")
    if not envelope.signed_by(public_key):
        return Check("signature", Outcome.FAILS, f"none of the signatures is by {name_of(public_key)}")
    return Check("signature", Outcome.HOLDS, f"signed by {name_of(public_key)}")


def _check_size(path: Path, question: Question) -> None:
    if (votes := question.n0 + question.n) > MOST_VOTES:
        raise BadRun(
            f"{path}: expected at most {MOST_VOTES:,} votes an image, as many as can be checked, got {votes:,}"
        )


def _trials(record: Record) -> int:
    return int(record.selection["trials"] + record.estimation["trials"])


def size_of_images(records: Iterable[Record]) -> int | None:
    """The side to which image files were resized and cropped, according to their records; None where they were not.

    If that is wrong, the digest of the pixels will differ.
    """
    cut = (record.shape[0] for record in records if any(step.startswith("centre ") for step in record.decoding))
    return next(cut, None)


def image_of(images: ImageSet, record: Record, *, alone: bool) -> LabelledImage | None:
    """The image of that name; `alone`: the only image, whatever its name."""
    found = images.find(record.name)
    return images[0] if found is None and alone and len(images) == 1 else found


def data_digest(images: ImageSet) -> str:
    """Digest of names, labels and pixels of all images."""
    return digest_list([image.name, image.label, digest_image(image.pixels)] for image in images)


@dataclass
class _Faults:
    """The first fault of each kind, and how many records have one."""

    first: dict[str, str] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def note(self, what: str, record: Record, fault: str | None) -> None:
        if fault is not None:
            self.first.setdefault(what, f"{record.name}: {fault}")
            self.count[what] = self.count.get(what, 0) + 1

    def check(self, what: str, good: str) -> Check:
        if what not in self.first:
            return Check(what, Outcome.HOLDS, good)
        others = self.count[what] - 1
        return Check(what, Outcome.FAILS, self.first[what] + (f" (and {others} more)" if others else ""))


def _claim_fault(evidence: Evidence, record: Record, image: LabelledImage | None) -> str | None:
    found = recounted(evidence, record, image)
    if isinstance(found, str):
        return found
    what = differs(record, found)
    return None if what is None else f"its {what} does not follow from its votes"


def recounted(evidence: Evidence, record: Record, image: LabelledImage | None) -> Recount | str:
    """The claim from its packed votes, for the actual image's dimension where it is given; or why there is none."""
    try:
        labels = evidence.labels(record)
        dim = record.dim if image is None else image.pixels.size
        told = None if record.cover is None else cover_votes(record)
        choose = None
        if told is not None and image is not None and why_not_made_again(record) is None:
            choose = partial(chosen_cover, record, image)
        found = recount(record.question, labels, dim, record.weight, told=told, choose=choose)
    except Disproved as error:
        return str(error)
    except BadInput as error:
        return f"its votes cannot be counted: {error}"
    return "its number of votes does not fit its settings" if found is None else found


def _cover_check(evidence: Evidence, images: ImageSet | None) -> Check:
    """Whether centres and radii could be recomputed; where they differ, the claims already do not hold."""
    if images is None:
        return Check("cover", Outcome.OPEN, "its centres are only what the file states", "--images")
    why = next((why for record in evidence.records if (why := why_not_made_again(record)) is not None), None)
    if why is not None:
        return Check("cover", Outcome.OPEN, why, "the software that made the images of the family")
    centres = sum(len(record.cover["centres"]) for record in evidence.records if record.cover is not None)
    return Check("cover", Outcome.HOLDS, f"all of its {centres:,} centres were recomputed from the images")


def _circumstance_fault(record: Record) -> str | None:
    height, width, channels = record.shape
    rows, *shape = record.batch
    asked = record.asked
    if shape != [channels, height, width]:
        return "its batch has images of another shape"
    if asked.generator != GENERATOR:
        return f"its noise is from another generator than {GENERATOR}"
    if not 1 <= rows <= LIMITS["batch"]:
        return f"its batch has {rows} rows"
    if record.service is not None and digest_json(_described(record.service)) != record.question.classifier:
        return "its service does not match the digest of its classifier"
    if not record.addressed:
        return None
    usual = asked.batch_size or max(1, asked.batch_area // (height * width))
    return None if rows <= usual else f"its batch has {rows} rows, more than the {usual} in its settings"


def _described(service: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that decide how an image becomes a vote, without those known only afterwards."""
    return {name: value for name, value in service.items() if name not in ("version", "log")}


def _streams(record: Record) -> list[str]:
    """The keys of its streams, of the noise and of W; none where they do not follow from the question."""
    if not record.addressed:
        return []
    return [stream for phase in record.asked.streams if (stream := record.key.get(phase.value))]


def _shared_noise(record: Record, holders: dict[str, str], twice: frozenset[int]) -> str | None:
    """Whether a stream was used before; `holders`: the image of each of those whose mark came twice."""
    drawn = _streams(record)
    for stream in drawn:
        shared = mark(stream) in twice and holders.setdefault(stream, record.image) != record.image
        if shared or drawn.count(stream) > 1:
            return "two of its phases, or two images, have the same noise"
    return None


def _key_fault(evidence: Evidence, record: Record) -> str | None:
    if not record.addressed or evidence.key is None:
        return None
    if commitment_of(evidence.key) != record.key["commitment"]:
        return "the revealed key does not match the commitment"
    witness, key = evidence.witness, MasterKey(evidence.key, "")
    if witness is not None:
        key = key.witnessed(witness.round.randomness)
    if record.key.get("witness") != (None if witness is None else witness.commitment.digest):
        return "it names a different witness"
    for phase, expected in key.streams(record.asked, record.image).items():
        if expected.hex() != record.key.get(phase.value):
            return f"the {phase} stream does not follow from the key and the settings"
    return None


def _key_check(evidence: Evidence, faults: _Faults, key_standing: Standing) -> Check:
    if "key" in faults.first:
        return faults.check("key", "")
    first = evidence.first
    if first is not None and not first.addressed:
        return Check(
            "key",
            Outcome.OPEN,
            "votes of an older version: their noise does not depend on all settings, so alpha, n or the bound may have "
            "been chosen after the votes",
            "votes of this version, by certifying again",
        )
    if evidence.key is None:
        return Check(
            "key", Outcome.OPEN, "the run is unfinished, its key is still secret", "the finished run (--resume)"
        )
    if key_standing == UNKEYED:
        return Check("key", Outcome.HOLDS, key_standing.text)
    told = "the noise follows from the committed key and the settings"
    if key_standing.false:
        return Check("key", Outcome.FAILS, key_standing.text)
    return Check("key", Outcome.HOLDS, f"{told}; {key_standing.text}")


def _image_fault(record: Record, image: LabelledImage | None) -> str | None:
    if image is None:
        return "is not among the images"
    if digest_image(image.pixels) != record.image:
        return "these are not the pixels that were certified"
    if image.pixels.shape != record.shape:
        return f"it states shape {record.shape}, but the image has {image.pixels.shape}"
    return None if image.decoding == record.decoding else "it states other preprocessing of the image than here"


def _place_fault(evidence: Evidence, record: Record, images: ImageSet) -> str | None:
    """Whether a run states another index of it than it has among the images."""
    if evidence.run is None or (record.index < len(images) and images.names[record.index] == record.name):
        return None
    return "it has another index among the images"


def _label_fault(record: Record, image: LabelledImage | None) -> str | None:
    if image is None or image.label is None or record.label == image.label:
        return None
    return "its true class differs from the image's label"


def _label_check(evidence: Evidence, images: ImageSet, faults: _Faults) -> Check:
    if "labels" in faults.first:
        return faults.check("labels", "")
    if any(label is None for label in images.labels):
        if any(record.label is not None for record in evidence.records):
            return Check("labels", Outcome.OPEN, "true classes are only what the file states", "the images' labels")
        return Check("labels", Outcome.HOLDS, "the file states none")
    return faults.check("labels", "true classes match the images' labels")


def _listing_check(run: RunHead, images: ImageSet | None) -> Check:
    """Whether the images that a late run digested last are those that it listed first."""
    told = "names, labels and sizes of the images were fixed before the key, their pixels only after it"
    if images is None:
        return Check("listing", Outcome.OPEN, told, "--images")
    listing = images.listing()
    if listing is None:
        return Check("listing", Outcome.OPEN, told, "--images as files, as they were certified")
    if listing != run.listing:
        return Check("listing", Outcome.FAILS, "these are not the names, labels and sizes in the run's listing")
    return Check("listing", Outcome.HOLDS, told)


def _run_checks(run: RunHead, images: ImageSet | None) -> Iterator[Check]:
    """Checks of a run as a whole: complete, of these images, and how many other attempts lie beside it."""
    if run.key is None:
        yield Check("chain", Outcome.OPEN, "the run is unfinished", "the finished run (--resume)")
    elif images is None:
        yield Check("chain", Outcome.OPEN, "cannot tell whether images were left out", "--images")
    elif len(images) != run.images or data_digest(images) != run.data:
        yield Check(
            "chain", Outcome.FAILS, "these are not the images and labels of the run: some differ or are missing"
        )
    else:
        yield Check(
            "chain", Outcome.HOLDS, f"all {run.images} images are included; nothing was added, left out or cut off"
        )
    if run.late:
        yield _listing_check(run, images)
    if run.schema == SCHEMA and (seen := count_attempts(run.folder, run.header, str(run.header["key_commitment"]))) > 1:
        yield Check(
            "attempts", Outcome.TOLD, f"{seen} runs of the same images, networks and noise, with other keys, are here"
        )
