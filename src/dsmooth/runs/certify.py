"""Certify a set of images into a run folder, resumable at any moment."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from dsmooth.classifiers.base import digest_module
from dsmooth.denoisers.base import Denoiser
from dsmooth.errors import BadParameter, BadRun
from dsmooth.images import ImageSet
from dsmooth.records.digests import digest_image, digest_json
from dsmooth.records.querylog import LOG
from dsmooth.records.schema import Record, radius_text, votes_to_json
from dsmooth.records.sidecar import SidecarWriter
from dsmooth.records.store import Run, RunWriter, check_free, read_run
from dsmooth.services.asking import CANARIES, Asking
from dsmooth.smoothing.chunks import Chunk, MasterKey, Phase
from dsmooth.smoothing.sampler import GENERATOR
from dsmooth.smoothing.scheduler import Poll
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.theory.bounds import check_count, check_level
from dsmooth.theory.certificate import Certificate, Label
from dsmooth.theory.noises import check_norm

__all__ = ["Progress", "certify_run", "denoiser_digest", "versions"]

_BACKEND = "torch-cpu"


@dataclass(frozen=True)
class Progress:
    """What is told while a run goes on."""

    samples: int
    samples_in_all: int
    finished: Record | None = None
    certificate: Certificate | None = None


def certify_run(
    smoothed: SmoothedClassifier,
    images: ImageSet,
    out: Path,
    *,
    n0: int = 100,
    n: int = 1000,
    alpha: float = 0.001,
    norm: float = 2.0,
    seed: int | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = lambda notice: None,
) -> Run:
    """`out` holds one record for each image, each on disk as soon as the image is finished.

    After a crash, `resume` does the unfinished images with the noise that they would have had; with other parameters it
    is refused (BadRun). The key of the noise is drawn after images and parameters are fixed.
    """
    alpha, norm = check_level(alpha), check_norm(norm)
    n0, n = check_count(n0, "n0"), check_count(n, "n")
    check_free(out, resume)
    if not images:
        raise BadParameter("expected at least one image, got none")
    if len(set(images.keys)) != len(images):
        raise BadParameter("expected each image once, got one twice: a run records an image once")
    parameters = _parameters(smoothed, _digest(images), n0, n, alpha, norm)
    key = MasterKey.draw(seed)
    header = {
        "parameters": parameters,
        "images": len(images),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "class_names": None if smoothed.classifier.class_names is None else list(smoothed.classifier.class_names),
        "key": key.value.hex(),
        "key_source": key.source,
        "key_commitment": key.commitment,
    }
    if resume and str(parameters["denoiser"]).startswith("unknown:"):
        raise BadRun(
            "a run with a plain function as denoiser cannot be resumed: nothing tells whether it is the same one"
        )
    with RunWriter(out, header, resume=resume) as writer:
        if writer.torn:
            on_notice(f"cut off {writer.torn} bytes of an unfinished record; its image is done again")
        key = _key_of(out, writer.header)
        if seed is not None and key != MasterKey.draw(seed):
            raise BadRun(f"{out} was made with another seed, or with none: leave --seed out to resume")
        done = {record.name for record in writer.records}
        missing = [i for i, name in enumerate(images.keys) if name not in done]
        if done:
            on_notice(f"{len(done)} of {len(images)} images are done; going on with the other {len(missing)}")
        recorder = _Recorder(smoothed, writer, missing, key, parameters, on_progress)
        remote = smoothed.pipeline.remote
        if remote is None:
            recorder.run(images.subset(missing))
        elif missing:
            canaries = [image.pixels for image in images[:CANARIES]]
            with remote.logged(
                out, key_commitment=key.commitment, parameters=digest_json(parameters), canaries=canaries
            ) as recorder.asking:
                if recorder.asking.log is not None and recorder.asking.log.held.entries:
                    on_notice(f"{len(recorder.asking.log.held.entries):,} queries of this run are answered already")
                recorder.run(images.subset(missing))
    return read_run(out)


def _key_of(out: Path, header: Mapping[str, Any]) -> MasterKey:
    try:
        key = MasterKey(bytes.fromhex(header["key"]), header["key_source"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadRun(f"{out}: the key in run.json is damaged ({error})") from error
    if key.commitment != header.get("key_commitment"):
        raise BadRun(f"{out}: the key in run.json is not the one that was committed to")
    return key


class _Recorder:
    """Writes the votes of unfinished images to sidecars, and a record for each finished one."""

    def __init__(
        self,
        smoothed: SmoothedClassifier,
        writer: RunWriter,
        positions: Sequence[int],
        key: MasterKey,
        parameters: dict[str, Any],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.smoothed, self.writer, self.positions = smoothed, writer, positions
        self.key, self.parameters, self.on_progress = key, parameters, on_progress
        self.versions = versions()
        self.samples = 0
        self.in_all = len(positions) * (parameters["n0"] + parameters["n"])
        self.sidecars: dict[str, SidecarWriter] = {}
        self.order: dict[str, int] = {}
        self.clock = time.monotonic()
        self.asking: Asking | None = None

    def run(self, images: ImageSet) -> None:
        self.order = dict(zip(images.keys, self.positions, strict=True))
        demand = {Phase.SELECTION: self.parameters["n0"], Phase.ESTIMATION: self.parameters["n"]}
        try:
            for poll in self.smoothed.polls(images, demand, self.key, on_votes=self._count):
                self._finish(poll)
        finally:
            for sidecar in self.sidecars.values():
                sidecar.abandon()

    def _count(self, poll: Poll, chunk: Chunk, labels: Sequence[Label | None]) -> None:
        name = poll.image.key
        if name not in self.sidecars:
            self.sidecars[name] = self.writer.sidecar(self.order[name])
        self.sidecars[name].add(labels)
        self.samples += chunk.count
        self.on_progress(Progress(self.samples, self.in_all))

    def _finish(self, poll: Poll) -> None:
        now = time.monotonic()
        selection, estimation = poll.votes(Phase.SELECTION), poll.votes(Phase.ESTIMATION)
        parameters, image = self.parameters, poll.image
        height, width, channels = image.pixels.shape
        certificate = self.smoothed.certifier.certify(
            selection,
            estimation,
            self.smoothed.noise,
            alpha=parameters["alpha"],
            norm=check_norm(parameters["norm"]),
            dim=image.pixels.size,
        )
        record = Record(
            index=self.order[image.key],
            name=image.key,
            image=poll.digest,
            shape=(height, width, channels),
            decoding=image.decoding,
            label=image.label,
            answer=certificate.label,
            radius=radius_text(certificate.radius),
            norm=parameters["norm"],
            alpha=parameters["alpha"],
            n0=parameters["n0"],
            n=parameters["n"],
            certifier=parameters["certifier"],
            law=parameters["law"],
            sigma=parameters["sigma"],
            selection=votes_to_json(selection),
            estimation=votes_to_json(estimation),
            votes=self.sidecars.pop(image.key).close(),
            generator=GENERATOR,
            key={
                "commitment": self.key.commitment,
                "source": self.key.source,
                **{phase.value: stream.hex() for phase, stream in poll.streams.items()},
            },
            classifier=parameters["classifier"],
            denoiser=parameters["denoiser"],
            dtype=parameters["dtype"],
            backend=_BACKEND,
            batch=(poll.batch, channels, height, width),
            versions=self.versions,
            seconds=round(now - self.clock, 3),
            nondeterministic=poll.nondeterministic,
            service=self._service(),
        )
        self.clock = now
        record = self.writer.append(record)
        self.on_progress(Progress(self.samples, self.in_all, record, certificate))

    def _service(self) -> dict[str, Any] | None:
        """What a record says of the service; the answers that it rests on are on disk then."""
        remote = self.smoothed.pipeline.remote
        if remote is None or self.asking is None or self.asking.log is None:
            return None
        self.asking.log.sync()
        return {**remote.description, "version": self.asking.version, "log": LOG}


def _parameters(smoothed: SmoothedClassifier, data: str, n0: int, n: int, alpha: float, norm: float) -> dict[str, Any]:
    """Everything that must be the same for a run to be gone on with."""
    return {
        "sigma": smoothed.noise.sigma,
        "law": smoothed.noise.law,
        "n0": n0,
        "n": n,
        "alpha": alpha,
        "norm": "inf" if norm == float("inf") else norm,
        "certifier": smoothed.certifier.name,
        "dtype": smoothed.pipeline.dtype,
        "backend": _BACKEND,
        "batch": smoothed.batch,
        "generator": GENERATOR,
        "classifier_name": smoothed.classifier.name,
        "classifier": smoothed.classifier.digest(),
        "denoiser": denoiser_digest(smoothed.denoiser),
        "data": data,
    }


def _digest(images: ImageSet) -> str:
    """Names, labels and pixels of all images: a broken file shows here, before anything is written."""
    return digest_json([[image.key, image.label, digest_image(image.pixels)] for image in images])


def denoiser_digest(denoiser: object) -> str | None:
    """The digest of a Denoiser or other module, "unknown: NAME" for another callable, or None for none."""
    if denoiser is None:
        return None
    if isinstance(denoiser, Denoiser):
        return denoiser.digest()
    if isinstance(denoiser, nn.Module):
        return digest_module("denoiser", denoiser)
    return f"unknown: {type(denoiser).__module__}.{getattr(denoiser, '__qualname__', type(denoiser).__qualname__)}"


def versions() -> dict[str, str]:
    """What the votes were computed with."""
    packages = {name: importlib.metadata.version(name) for name in ("dsmooth", "torch", "numpy", "scipy")}
    return {**packages, "python": platform.python_version(), "machine": platform.machine(), "os": os.name}
