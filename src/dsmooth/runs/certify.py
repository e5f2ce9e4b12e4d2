"""Certify a set of images into a run folder, resumable at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from dsmooth.backends.versions import versions
from dsmooth.errors import BadInput, BadModel, BadParameter, BadRun
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import ImageSet, replaced
from dsmooth.records.beacon import Beacon
from dsmooth.records.clean_answers import add_clean_answer
from dsmooth.records.digests import digest_image, digest_list, is_unknown
from dsmooth.records.keys import count_attempts
from dsmooth.records.outputs import check_writable, claimed
from dsmooth.records.querylog import LOG
from dsmooth.records.question import Question
from dsmooth.records.schema import Record
from dsmooth.records.sidecar import SidecarWriter
from dsmooth.records.store import Run, RunWriter, asked_digest, check_free, holds_run, open_run
from dsmooth.records.thumbnails import THUMBNAILS
from dsmooth.runs.recording import record_of
from dsmooth.runs.shards import Shard, plan_of
from dsmooth.runs.witnessing import SOON, appointment, witnessed
from dsmooth.services.client import CANARIES, Client
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.smoothing.sources.known import source_of
from dsmooth.smoothing.tally import Tally
from dsmooth.smoothing.views import Alone
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.laws.base import EnumeratedLaw
from dsmooth.theory.modes import FIXED, Mode
from dsmooth.theory.threats.base import Threat
from dsmooth.theory.threats.known import THREATS
from dsmooth.theory.votes import Label

__all__ = ["MOST_READ_FIRST", "Progress", "certify_run"]

MOST_READ_FIRST: Final = 10_000
"""Of more images a run fixes only the listing before the first vote, unless it is asked for something else."""


@dataclass(frozen=True)
class Progress:
    """What is told while a run goes on: samples counted or found not to be needed, of those that mode fixed would draw."""

    samples: int
    samples_in_all: int
    finished: Record | None = None
    certificate: Certificate | None = None
    again: int = 0
    """Images that were read once more at the end of a late run."""


def certify_run(
    smoothed: SmoothedClassifier,
    images: ImageSet,
    out: Path | str,
    *,
    n0: int = 100,
    n: int = 1000,
    alpha: float = 0.001,
    norm: float | None = None,
    mode: Mode = FIXED,
    seed: int | None = None,
    skipped: Mapping[str, str] = MappingProxyType({}),
    witness: Beacon | None = None,
    witness_in: timedelta = SOON,
    fix: Literal["images", "listing"] | None = None,
    thumbnails: bool = True,
    resume: bool = False,
    plan: bool = False,
    shard: Shard | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = lambda notice: None,
) -> Run:
    """`out` holds one record for each image, each on disk as soon as the image is finished, and read from there.

    After a crash, `resume` certifies the unfinished images with the noise that they would have had; other settings are
    refused (BadRun). `skipped`: images that could not be read, and why, for run.json. The noise key is drawn after images
    and settings are fixed. norm None: the native norm of the noise. With a beacon as `witness`, the run is begun and
    WitnessAwaited raised; once the time stamp and the beacon's round (due after `witness_in`) are there, `resume`
    continues. With `thumbnails` the folder also holds a small picture of each image, for the report. The classifier's
    answer to each image without noise and denoiser is kept for the report too, unless it is a service that charges for it.

    Every image is read before the first vote, and run.json holds a digest of all pixels. With `fix` "listing" (by
    default for more than MOST_READ_FIRST stored images, without a witness) the run is late: run.json holds a digest of
    their listing (names, labels, sizes); images are read when their turn comes, and once more at the end for the digest
    of the pixels. In both cases an image that is replaced meanwhile stops the run.

    With `plan` only settings, images and key are fixed; then each `shard` does its part on any machine, and `merge_shards`
    makes one run of them.
    """
    out, resume = Path(out), resume or shard is not None
    terms = {"n0": n0, "n": n, "alpha": alpha, "norm": smoothed.law.norm_or_own(norm), "mode": mode}
    asked = smoothed.question(**terms)  # complains of bad numbers before anything is read
    if witness is not None and isinstance(smoothed.law, EnumeratedLaw):
        raise BadParameter(f"a witness is for the key of random noise, and noise {smoothed.law.name} has none")
    if mode.against is not None:
        _check_threat(mode.against, smoothed)
        images = images.fitting(mode.against.check)
    if shard is not None and smoothed.classifier.traits.billed:
        raise BadParameter("a service is queried by one machine, within one budget: leave out --shard")
    check_free(out, resume)
    check_writable(out)
    if not images:
        raise BadParameter("expected at least one image, got none")
    if len(set(images.names)) != len(images):
        raise BadParameter("expected different images, got one name twice")
    begun = open_run(out) if resume and holds_run(out) else None
    late = _is_to_be_late(images, fix, begun, witnessed=witness is not None)
    if begun is not None:
        if witness is not None and "witness" not in begun.header:
            raise BadRun(f"{out} was begun without a witness: resume without --witness, or choose another --out")
        smoothed.adopt(begun.question)
    else:
        smoothed.settle(next(iter(images)).pixels.shape, samples=len(images) * (asked.n0 + asked.n))
    question = smoothed.question(**terms)
    if not plan:
        _ = smoothed.session  # an engine that cannot start says so before anything is written
    key = MasterKey.draw(seed)
    listing, data = images.listing(), None
    if late:
        images = images.watched()
        on_notice(
            f"fixed now: names, labels and sizes of {len(images):,} images; their pixels come at the end (--fix images "
            "reads all of them first)"
        )
    else:
        digests = [digest_image(image.pixels) for image in images]  # a broken file shows before anything is written
        images = images.pinned(digests)
        data = digest_list(list(one) for one in zip(images.names, images.labels, digests, strict=True))
    first = images[0].pixels
    subject = {"question": question.to_json(), "data": data, "listing": listing}
    header = {
        **subject,
        "evaluated": None,
        "images": len(images),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "classifier_name": smoothed.classifier.name,
        "denoiser_name": smoothed.denoiser_name,
        "class_names": None if smoothed.classifier.class_names is None else list(smoothed.classifier.class_names),
        **({"skipped": dict(skipped)} if skipped else {}),
        "key_source": key.source,
        "key_commitment": key.commitment,
        "attempt": count_attempts(out, subject, key.commitment),
        "noise_test": source_of(smoothed.law).self_test(key.noise(question, digest_image(first)), first.shape),
    }
    if witness is not None:
        header["witness"] = appointment(witness, witness_in)
    plain = [what for what in ("classifier", "denoiser") if is_unknown(getattr(question, what))]
    if plain and resume:
        raise BadRun(
            f"a run with a plain function as {plain[0]} cannot be resumed: it cannot be shown to be the same function"
        )
    if plain:
        on_notice(
            f"plain functions have no digest (here the {' and the '.join(plain)}): this run cannot be resumed, and its "
            "certificates can never be verified"
        )
    place, chosen = out, range(len(images))
    if shard is not None:
        header, secret = plan_of(out, header)
        key = MasterKey(secret, str(header["key_source"]))
        place, chosen = shard.folder(out), shard.positions(len(images))
    with claimed(place), RunWriter(place, header, key.value, resume=resume) as writer:
        if writer.torn:
            on_notice(f"cut off {writer.torn} bytes of an unfinished record; its image is done again")
        if writer.header["attempt"] > 1 and not writer.records:
            on_notice(
                f"attempt {writer.header['attempt']} with the same settings in {out.absolute().parent}; records say so"
            )
        key = MasterKey(writer.key, writer.header["key_source"])
        if seed is not None and key != MasterKey.draw(seed):
            raise BadRun(f"{out} was made with another seed, or with none: leave out --seed to resume")
        promise = None
        if "witness" in writer.header:
            key, promise = witnessed(out, writer.header, key)
            source_of(smoothed.law).self_test(key.noise(question, digest_image(first)), first.shape)
        if late:
            list(_check_still_there(images, writer.records[:1]))  # read otherwise (--size), or another set
        done = {record.name for record in writer.records}
        missing = [i for i in chosen if images.names[i] not in done]
        if done:
            on_notice(f"{len(done)} of {len(chosen)} images are done; continuing with the other {len(missing)}")
        if plan:
            return writer.run()
        recorder = _Recorder(smoothed, question, writer, missing, key, promise, thumbnails, on_progress, on_notice)
        try:
            if not smoothed.classifier.traits.logged:
                recorder.run(images.subset(missing))
            elif missing:
                canaries = [image.pixels for image in images[:CANARIES]]
                with smoothed.classifier.logged(
                    out, key_commitment=key.commitment, parameters=asked_digest(header), canaries=canaries
                ) as recorder.client:
                    if recorder.client.log is not None and recorder.client.log.held.entries:
                        on_notice(f"{len(recorder.client.log.held.entries):,} queries of this run are already answered")
                    recorder.run(images.subset(missing))
        except BadInput:
            if not recorder.samples and (recorder.client is None or not recorder.client.gate.sent):
                writer.retract()
            raise
        if late and not writer.finished:
            for count in _check_still_there(images, writer.records):
                on_progress(Progress(recorder.samples, recorder.in_all, again=count))
        if shard is None:
            writer.finish()
        return writer.run()


def _check_threat(threat: Threat, smoothed: SmoothedClassifier) -> None:
    """Raises BadParameter where a run cannot certify against this family of transformations."""
    if threat.name not in THREATS:
        raise BadParameter(
            f"a run can certify against {THREATS}, got {threat.name}: certify single images against your own"
        )
    if smoothed.classifier.traits.logged:
        raise BadParameter(
            "--against needs a classifier that runs locally: the log of a service holds one image per record"
        )


def _is_to_be_late(images: ImageSet, fix: str | None, begun: Run | None, *, witnessed: bool) -> bool:
    """Whether the listing of the images is fixed first, and their pixels last."""
    if fix == "listing" and witnessed:
        raise BadParameter("--witness fixes the images first: leave out --fix listing")
    if fix == "listing" and not images.stored:
        raise BadParameter("these images are in memory and have no listing of files: leave out --fix listing")
    if begun is None:
        return fix == "listing" or (fix is None and not witnessed and images.stored and len(images) > MOST_READ_FIRST)
    if fix is not None and begun.late != (fix == "listing"):
        told = "listing" if begun.late else "images"
        raise BadRun(f"{begun.folder} was begun with --fix {told}: resume with the same, or choose another --out")
    return begun.late


def _check_still_there(images: ImageSet, records: Sequence[Record]) -> Iterator[int]:
    """Raises BadImage unless the images are still those of these records; how many are looked at, after each."""
    for count, record in enumerate(records, start=1):
        image = images[record.index]
        if (image.name, image.label, digest_image(image.pixels)) != (record.name, record.label, record.image):
            raise replaced(image.name)
        yield count


class _Recorder:
    """Writes the votes of unfinished images to sidecars, and a record for each finished one."""

    def __init__(
        self,
        smoothed: SmoothedClassifier,
        question: Question,
        writer: RunWriter,
        positions: Sequence[int],
        key: MasterKey,
        promise: str | None,
        thumbnails: bool,
        on_progress: Callable[[Progress], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self.on_notice = on_notice
        self.smoothed, self.question, self.writer, self.positions = smoothed, question, writer, positions
        self.key, self.promise, self.thumbnails, self.on_progress = key, promise, thumbnails, on_progress
        self.versions = versions()
        self.samples = 0
        self.done: dict[str, int] = {}
        """Of each open image, how many of the samples that it may take are done."""
        self.each = question.n0 + question.n
        self.in_all = len(positions) * self.each
        self.sidecars: dict[str, SidecarWriter] = {}
        self.order: dict[str, int] = {}
        self.clock = time.monotonic()
        self.client: Client | None = None
        self.alone = None if smoothed.classifier.traits.billed else Alone(smoothed.classifier)

    def run(self, images: ImageSet) -> None:
        self.order = dict(zip(images.names, self.positions, strict=True))
        try:
            for tally in self.smoothed.tallies(
                images,
                self.question,
                self.key,
                on_votes=self._count,
                on_restart=self._restart,
                on_notice=self.on_notice,
            ):
                self._finish(tally)
        finally:
            for sidecar in self.sidecars.values():
                sidecar.abandon()

    def _count(self, tally: Tally, chunk: Chunk, labels: Sequence[Label | None]) -> None:
        name = tally.image.name
        if name not in self.sidecars:
            self.sidecars[name] = self.writer.sidecar(self.order[name])
        self.sidecars[name].add(labels)
        self._progress(name, int(tally.share * self.each))
        self.on_progress(Progress(self.samples, self.in_all))

    def _progress(self, name: str, done: int) -> None:
        self.samples += done - self.done.get(name, 0)
        self.done[name] = done

    def _restart(self, name: str, batch_size: int) -> None:
        """Memory ran out: the votes so far of an unfinished image were of another batch shape, and count for nothing."""
        if (sidecar := self.sidecars.pop(name, None)) is not None:
            self._progress(name, 0)
            sidecar.abandon()
        self.on_notice(f"out of memory: {name} restarts in batches of {batch_size}, with the same noise")

    def _finish(self, tally: Tally) -> None:
        now = time.monotonic()
        question, image = self.question, tally.image
        certificate = tally.certificate(question)
        self._progress(image.name, self.each)  # those that are not needed are done too
        del self.done[image.name]
        record = record_of(
            tally,
            question,
            self.key,
            certificate,
            index=self.order[image.name],
            votes=self.sidecars.pop(image.name).close(),
            promise=self.promise,
            versions=self.versions,
            seconds=now - self.clock,
            attempt=self.writer.header["attempt"],
            service=self._service(),
        )
        self.clock = now
        self._ask_alone(image.pixels, record.image)
        record = self.writer.append(record)
        if self.thumbnails:
            THUMBNAILS.write(self.writer.folder, record.index, image.pixels)
        self.on_progress(Progress(self.samples, self.in_all, record, certificate))

    def _ask_alone(self, pixels: Pixels, image: str) -> None:
        """What the classifier itself says of the image is written down for the report; a run does not end over it."""
        if self.alone is None:
            return
        try:
            add_clean_answer(self.writer.folder, image, self.alone.answer(pixels))
        except (BadModel, MemoryError) as error:
            self.on_notice(f"the report will not show the classifier's own accuracy ({error})")
            self.alone = None

    def _service(self) -> dict[str, Any] | None:
        """What a record says of the service; the answers that it rests on are on disk then."""
        if self.client is None or self.client.log is None:
            return None
        self.client.log.sync()
        return {**self.smoothed.classifier.description, "version": self.client.version, "log": LOG}
