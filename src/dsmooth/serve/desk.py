"""The core of the gateway: pictures come in, are classified by vote together with all others, and answers go out.

Faces translate; this decides who may ask, how long it may take, and what is recorded.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from dsmooth.backends.versions import versions
from dsmooth.errors import BadImage, BadParameter, DsmoothError, Expired
from dsmooth.images.decoding import read_image
from dsmooth.images.pixels import Pixels, check_pixels
from dsmooth.images.sets import LabelledImage
from dsmooth.records.certificate_file import CertificateFile
from dsmooth.records.digests import digest_image, digest_json
from dsmooth.records.question import Question
from dsmooth.records.schema import certificate_of
from dsmooth.records.sidecar import VotePacker
from dsmooth.runs.recording import record_of
from dsmooth.serve.admission import Place
from dsmooth.serve.answers import Answer
from dsmooth.serve.archive import Archive, Kept, Subject
from dsmooth.serve.callers import Caller, Callers
from dsmooth.serve.metrics import Metrics
from dsmooth.serve.refusals import Refused, refusal_of
from dsmooth.serve.served import Served
from dsmooth.serve.tracing import NO_TRACING, Tracing
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.scheduler import Urgency
from dsmooth.smoothing.session import Handle
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.prediction import Prediction
from dsmooth.theory.votes import Label, Phase, Votes

__all__ = ["Desk", "OnBegun", "OnLabels", "Request", "decoded"]

_DECODERS: Final = 2  # a picture of 25 megapixels takes 75 MB while it is decoded
_NAME: Final = "image"  # what a record calls the picture: what clients call theirs stays with them
_JOB_PRIORITY: Final = -1
_JOB_DEADLINE: Final = 3600.0

OnBegun = Callable[[str], None]
"""Called with the commitment to the key, before the first vote is asked for."""

OnLabels = Callable[[Phase, Sequence[Label | None], bool], None]
"""Called by the session's thread with the votes that count, as they come; True with the first ones, also where memory ran
out and the votes so far count for nothing."""


@dataclass(frozen=True)
class Request:
    """One picture and its settings."""

    served: Served
    question: Question
    picture: bytes | Pixels
    """An image file, or pixels of the classifier's own size."""
    caller: Caller
    job: bool = False
    """Whether it is a job, which may take an hour and has lower priority than waiting requests."""
    predict: bool = False
    """Whether only the most probable answer is wanted, without a radius and without a record."""
    deadline: float | None = None
    """Seconds within which it is answered; None: the operator's."""

    @property
    def seconds(self) -> float:
        """What it may take."""
        if self.job:
            return _JOB_DEADLINE
        return self.served.limits.deadline if self.deadline is None else self.deadline


class Desk:
    """Everything behind the faces: models by name (the first is the usual one), callers, archive and metrics.

    tracing: who is told where time goes; closed with the desk.
    cache: whether a repeated question about the same picture is answered by the certificate that exists; otherwise it is
    certified anew, and the record counts the attempt. allow_attack: whether clients may have the classifier attacked.
    samples: pictures that the page offers, PNG files by name. Raises BadParameter for quotas of money without a price.
    """

    def __init__(
        self,
        models: Mapping[str, Served],
        *,
        callers: Callers,
        archive: Archive,
        metrics: Metrics,
        cache: bool = True,
        allow_attack: bool = False,
        tracing: Tracing = NO_TRACING,
        samples: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        for served in models.values():
            traits, limits = served.smoothed.classifier.traits, served.smoothed.classifier.limits
            if traits.billed and limits.price is None and callers.counts_dollars:
                raise BadParameter(
                    f"keys have dollars_per_day, but the price of {served.smoothed.classifier.name} is not known: pass "
                    "--price (dollars per 1,000 queries)"
                )
        self.samples = dict(samples)
        self.models, self.callers, self.archive, self.metrics = dict(models), callers, archive, metrics
        self.allow_attack, self.draining = allow_attack, False
        self._cache, self.tracing = cache, tracing
        self.aside = ThreadPoolExecutor(1, "dsmooth-aside")  # for what is no certificate
        self._decoders = ThreadPoolExecutor(_DECODERS, "dsmooth-decode")
        self._writers = ThreadPoolExecutor(1, "dsmooth-record")
        self._versions = versions()
        metrics.watch(self)

    @property
    def ready(self) -> bool:
        """Whether all models answer, as far as is known."""
        return not self.draining and all(served.ready for served in self.models.values())

    def model(self, name: str | None = None) -> Served:
        """The model of that name, the usual one for None; raises Refused (404)."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refused("not_found", f"expected one of the models {', '.join(self.models)}, got {name[:40]!r}")
        return self.models[name]

    async def ask(
        self, request: Request, *, on_begun: OnBegun = lambda commitment: None, on_labels: OnLabels = lambda *_: None
    ) -> Answer:
        """The answer, once all its votes are there; raises Refused. Cancelled if the caller stops waiting.

        At the deadline a prediction abstains, and a certificate is refused.
        """
        if self.draining:
            raise Refused("draining", "the server is shutting down; try again in a moment", retry_after=5.0)
        served, question = request.served, request.question
        samples = question.n0 + question.n
        queue = served.jobs if request.job else served.queue
        arrived = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            with queue.enter(samples, request.seconds) as place:
                with self.tracing.stage("decode"):
                    image = await loop.run_in_executor(self._decoders, decoded, request.picture, served)
                subject = Subject(request.caller.name, digest_image(image.pixels), question)
                if self._cache and not request.predict:
                    version = served.smoothed.classifier.version
                    kept = await loop.run_in_executor(self._writers, self.archive.find, subject, version)
                    if kept is not None:
                        return _answer(served, kept, cached=True)
                self.callers.samples(request.caller, samples, served.dollars(samples))
                urgency = Urgency(_JOB_PRIORITY if request.job else 0, arrived + request.seconds)
                attempt = 0
                if not request.predict:
                    attempt = await loop.run_in_executor(self._writers, self.archive.begin, subject)
                return await self._vote(request, subject, image, attempt, urgency, place, on_begun, on_labels)
        except BadImage as error:
            raise Refused("bad_image", str(error)) from error
        except DsmoothError as error:
            raise refusal_of(error) from error

    async def _vote(
        self,
        request: Request,
        subject: Subject,
        image: LabelledImage,
        attempt: int,
        urgency: Urgency,
        place: Place,
        on_begun: OnBegun,
        on_labels: OnLabels,
    ) -> Answer:
        served, question = request.served, subject.question
        key = MasterKey.draw()  # after the picture is known, and nobody's choice
        on_begun(key.commitment)
        started = time.monotonic()
        ballot = _Ballot(place, on_labels, lambda: self.metrics.begun(time.monotonic() - started))
        handle = served.smoothed.session.submit(image, question, key=key, urgency=urgency, on_votes=ballot.count)
        if request.predict:
            with self.tracing.stage("vote"):
                heard = await self._predicted(handle, request)
            prediction = heard or Prediction(None, 1.0, question.alpha, Votes({}, 0))
            return Answer(
                question=question,
                promise=prediction,
                name=served.named(prediction.answer),
                image=subject.image,
                commitment=key.commitment,
                late=heard is None,
            )
        with self.tracing.stage("vote"):
            tally, service = await self._waited(handle, served)
        self.metrics.voted(tally)
        packed, votes = ballot.packed()
        certificate = tally.certificate(question)
        record = record_of(
            tally,
            question,
            key,
            certificate,
            index=0,
            votes=votes,
            promise=None,
            versions=self._versions,
            seconds=time.monotonic() - started,
            attempt=attempt,
            service=service,
        ).sealed(digest_json({"asked": question.to_json(), "image": tally.digest, "commitment": key.commitment}))
        file = CertificateFile(record, packed, key.value, served.class_name(certificate.answer))
        try:
            with self.tracing.stage("record"):
                kept = await asyncio.get_running_loop().run_in_executor(
                    self._writers, self.archive.keep, subject, attempt, file
                )
        except OSError as error:  # an answer whose record is lost would be worth nothing to whoever checks it
            raise Refused(
                "failed", f"the certificate could not be recorded ({error.strerror}); try again later"
            ) from error
        self.metrics.certified(certificate)
        return _answer(served, kept, cached=False)

    async def _predicted(self, handle: Handle, request: Request) -> Prediction | None:
        """What all votes say; None where they did not come in time: fewer of them would be chosen by the clock."""
        try:
            tally, _ = await self._waited(handle, request.served)
        except Expired:
            return None
        self.metrics.voted(tally)
        return tally.prediction(request.question)

    async def _waited(self, handle: Handle, served: Served) -> tuple[Tally, dict[str, Any] | None]:
        """All votes, and the service that they are of; whoever stops waiting cancels the image."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        services: list[dict[str, Any] | None] = []

        def tell() -> None:
            services.append(served.service)  # by the thread that would begin anew with another version of its model
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(done.set)

        handle.on_done(tell)
        try:
            await done.wait()
        finally:
            if not handle.done:
                with suppress(DsmoothError):  # the session has ended
                    handle.cancel()
        return handle.result(0), services[0]

    async def document(self, caller: Caller, name: str) -> bytes:
        """The caller's certificate of that id; raises Refused (404), also for another caller's."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._writers, self.archive.get, caller.name, name)
        except OSError:
            found = None
        if found is None:
            raise Refused("not_found", "no certificate with this id is kept here for this caller")
        return found

    def close(self) -> None:
        """Nothing is asked any more; what waits fails."""
        self.draining = True
        self.tracing.close()
        for served in self.models.values():
            served.close()
        for threads in (self._decoders, self._writers, self.aside):
            threads.shutdown()


class _Ballot:
    """The votes of one picture as they come, packed for its certificate file."""

    def __init__(self, place: Place, on_labels: OnLabels, on_first: Callable[[], None]) -> None:
        self._place, self._on_labels, self._on_first = place, on_labels, on_first
        self._tally: Tally | None = None
        self._packer, self._pieces = VotePacker(), [b""]

    def count(self, tally: Tally, chunk: Chunk, labels: Sequence[Label | None]) -> None:
        fresh = tally is not self._tally
        if fresh:  # where memory ran out, an image starts again: its votes so far count for nothing
            if self._tally is None:
                self._on_first()
            self._tally, self._packer, self._pieces = tally, VotePacker(), []
        self._pieces.append(self._packer.add(labels))
        self._place.count(len(labels))
        self._on_labels(chunk.phase, labels, fresh)

    def packed(self) -> tuple[bytes, dict[str, Any]]:
        """The packed votes, and what a record says of them."""
        return b"".join([*self._pieces, self._packer.finish()]), self._packer.entry("votes/000000.votes")


def _answer(served: Served, kept: Kept, *, cached: bool) -> Answer:
    record = kept.file.record
    certificate = certificate_of(record)
    return Answer(
        question=record.question,
        promise=certificate,
        name=served.named(certificate.answer),
        image=record.image,
        commitment=record.key["commitment"],
        id=kept.id,
        document=kept.document,
        cached=cached,
    )


def decoded(picture: bytes | Pixels, served: Served) -> LabelledImage:
    """The picture at the size of the classifier; raises BadImage."""
    if isinstance(picture, bytes):
        return read_image(io.BytesIO(picture), name=_NAME, channels=served.shape[2], size=served.size)
    pixels = check_pixels(picture, name=_NAME)
    if pixels.shape != served.shape:
        raise BadImage(
            f"expected pixels of shape {list(served.shape)}, got {list(pixels.shape)}: resize, or send a file"
        )
    return LabelledImage(_NAME, pixels)
