"""Attack a run, image by image: inside each certified ball, and at given strengths with and without smoothing."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from dsmooth.audit.ball import distance_text, snap, snap_covered
from dsmooth.audit.findings import (
    FOLDER,
    Finding,
    Findings,
    append_finding,
    begin_findings,
    check_of_run,
    read_findings,
)
from dsmooth.audit.parameters import worst_parameters
from dsmooth.audit.pgd import Ascent, Draw, no_noise
from dsmooth.classifiers.base import DifferentiableClassifier, labels_of
from dsmooth.errors import BadModel, BadParameter, BadRun
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.records.digests import digest_image
from dsmooth.records.files import write_whole
from dsmooth.records.question import PREDICTION
from dsmooth.records.record_file import in_order
from dsmooth.records.schema import Record, certificate_of, radius_text
from dsmooth.records.store import Run
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.pipeline import denoiser_digest
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.bounds import check_count, check_level, check_seed
from dsmooth.theory.grid import LEVELS
from dsmooth.theory.prediction import Prediction, left_behind
from dsmooth.theory.threats.base import Threat
from dsmooth.theory.top_k import top_k_named
from dsmooth.theory.votes import Phase, Votes

__all__ = ["Attack", "attack_run"]

_INF = float("inf")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What is tried on each image.

    strengths: radii, in the native norm of the noise, at which accuracy under attack is measured, in addition to each
        certified ball (in that norm and in l_inf).
    n: votes to classify an attacked image.
    alpha: probability with which a majority called confident may be chance; only a confident one disproves a certificate.
    """

    ascent: Ascent = field(default_factory=Ascent)
    strengths: tuple[float, ...] = ()
    n: int = 200
    alpha: float = 1e-6
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self.n, "n")
        check_level(self.alpha)
        check_seed(self.seed)
        if not all(0.0 < strength < _INF for strength in self.strengths):
            raise BadParameter(f"strengths must be finite numbers above 0, got {list(self.strengths)}")

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "steps": self.ascent.steps,
            "draws": self.ascent.draws,
            "strengths": list(self.strengths),
            "n": self.n,
            "alpha": self.alpha,
            "seed": self.seed,
        }


def attack_run(
    run: Run,
    images: ImageSet,
    smoothed: SmoothedClassifier,
    attack: Attack,
    *,
    most: int | None = None,
    resume: bool = False,
    on_image: Callable[[str, Sequence[Finding]], None] = lambda name, findings: None,
) -> Findings:
    """RUN/attack holds the results of attacking the first `most` images of the run (None: all).

    The networks and images must be those of the run. An attacked image that disproves a certificate is kept as a PNG
    beside the findings; with the run and the seed it suffices to reproduce the result.
    """
    classifier = smoothed.classifier
    if not isinstance(classifier, DifferentiableClassifier):
        raise BadModel(
            f"an attack needs gradients, and {classifier.name} has none: pass the classifier as torch weights"
        )
    given = {"classifier": classifier.digest(), "denoiser": denoiser_digest(smoothed.denoiser)}
    for what, digest in given.items():
        if getattr(run.question, what) != digest:
            raise BadRun(f"{run.folder} was certified with another {what}: pass the certified one")
    records = list(islice(in_order(run.records), most))
    found = {image.name: image for image in _named(images, records)}
    folder = run.folder / FOLDER
    done = begin_findings(folder, attack.parameters, resume=resume)
    check_of_run(done, run)
    attacker = _Attacker(smoothed, classifier.network(), attack)
    for record in records:
        if record.name not in done.images:
            findings = list(attacker.findings(record, found[record.name], folder))
            append_finding(folder, record.name, findings)
            on_image(record.name, findings)
    return read_findings(folder)


def _named(images: ImageSet, records: Sequence[Record]) -> Iterator[LabelledImage]:
    for record in records:
        image = images.find(record.name)
        if image is None:
            raise BadRun(f"{record.name} is not among the images: pass the images that were certified")
        if digest_image(image.pixels) != record.image:
            raise BadRun(f"{record.name} does not have the pixels that were certified")
        yield image


class _Attacker:
    """Attacks on one smoothed classifier."""

    def __init__(self, smoothed: SmoothedClassifier, logits: Callable[[Tensor], Tensor], attack: Attack) -> None:
        self.smoothed, self.attack, self.alone = smoothed, attack, logits
        self.behind = smoothed.denoised_logits(logits)
        self.source = source_of(smoothed.law)

    def findings(self, record: Record, image: LabelledImage, folder: Path) -> Iterator[Finding]:
        certificate = certificate_of(record)
        threat = record.question.mode.against
        if threat is not None and threat.ranges and isinstance(certificate.answer, int):
            yield self._family(record, image, threat, certificate.answer, folder)
        for norm in (record.law.norm, _INF):
            radius = radius_text(certificate.radius_in(norm))
            if not certificate.abstained and isinstance(certificate.answer, int):
                yield self._one(record, image, norm, radius, radius, certificate.answer, True, folder, certificate.top)
            if norm != _INF and record.label is not None:
                for strength in map(str, self.attack.strengths):
                    for defended in (True, False):
                        yield self._one(record, image, norm, strength, radius, record.label, defended, folder)

    def _family(self, record: Record, image: LabelledImage, threat: Threat, target: int, folder: Path) -> Finding:
        """The finding at the least confidently classified image of the certified family, of those that were tried."""
        attack, seed = self.attack, (self.attack.seed + record.index) % 2**63
        found = worst_parameters(
            self.behind, threat, image.pixels, target, self._noise_on(image.pixels, seed), tries=attack.ascent.steps,
            draws=attack.ascent.draws, seed=seed,
        )  # fmt: skip
        moved = threat.apply(image.pixels, *found)
        strength = " ".join(f"{value!r}" for value in found)
        return self._finding(record, image, moved, threat.name, strength, record.radius, True, folder)

    def _one(
        self,
        record: Record,
        image: LabelledImage,
        norm: float,
        strength: str,
        radius: str,
        target: int,
        defended: bool,
        folder: Path,
        top: int = 1,
    ) -> Finding:
        attack, law = self.attack, record.law
        spread = law.spread(image.pixels.shape) if norm == law.norm else None
        seed = (attack.seed + record.index) % 2**63
        delta = attack.ascent.attack(
            self.behind if defended else self.alone,
            image.pixels,
            target,
            self._noise_on(image.pixels, seed) if defended else no_noise,
            norm=norm,
            radius=float(strength),
            seed=seed,
            spread=spread,
            top=top,
        )
        if spread is None:
            moved = snap(image.pixels, delta, norm, Fraction(strength))
        else:
            moved = snap_covered(image.pixels, delta, law, Fraction(strength))
        return self._finding(record, image, moved, norm, strength, radius, defended, folder)

    def _finding(
        self,
        record: Record,
        image: LabelledImage,
        moved: Pixels,
        norm: float | str,
        strength: str,
        radius: str,
        defended: bool,
        folder: Path,
    ) -> Finding:
        """The answer at this image, and whether the certificate covers it; `norm` as a Finding's."""
        law, ball = record.law, record.law.norm if isinstance(norm, str) else norm
        if isinstance(norm, str):
            covered = self._same_family(record)
        else:
            covered = law.covers(moved.astype(np.int64) - image.pixels, Fraction(radius), norm=ball)
        majority = self._majority(moved) if defended else None
        votes = Votes({}, 0) if majority is None else majority.votes
        answer = votes.ranked()[0][0] if votes.counts else None
        finding = Finding(
            name=record.name,
            digest=digest_image(moved),
            norm="inf" if norm == _INF else norm,
            strength=strength,
            distance=distance_text(image.pixels, moved, ball),
            defended=defended,
            label=record.label,
            certified=record.answer,
            radius=radius,
            inside=record.answer is not None and covered,
            answer=answer if defended else self._plain_answer(moved),
            sure=majority is not None and self._is_sure(majority, record),
            votes=[list(pair) for pair in votes.ranked()],
        )
        if finding.flip:
            shown = moved if moved.shape[2] == 3 else moved[:, :, 0]
            picture = io.BytesIO()
            Image.fromarray(shown).save(picture, "PNG")
            write_whole(folder / f"flip-{finding.digest[:16]}.png", picture.getvalue(), inside=folder.parent)
        return finding

    @staticmethod
    def _same_family(record: Record) -> bool:
        """Whether what makes the images here is what made those that were certified."""
        threat = record.question.mode.against
        return threat is not None and record.cover is not None and record.cover["by"] == threat.by

    def _is_sure(self, majority: Prediction, record: Record) -> bool:
        """Whether the majority is beyond chance; for a top-k certificate, whether the label is surely not in the top k."""
        rule = top_k_named(record.question.bound)
        if rule is None or record.answer is None:
            return not majority.abstained
        return left_behind(majority.votes, record.answer, rule, self.attack.alpha)

    def _majority(self, pixels: Pixels) -> Prediction:
        images = [LabelledImage("attacked", pixels)]
        question = self.smoothed.question(n=self.attack.n, alpha=self.attack.alpha, bound=PREDICTION)
        (tally,) = self.smoothed.tallies(images, question, MasterKey.draw(self.attack.seed))
        return tally.prediction(question)

    def _noise_on(self, pixels: Pixels, seed: int) -> Draw:
        """The noise of the law that was certified under, from a stream that no certificate uses."""
        stream = hashlib.blake2b(f"{seed}".encode(), digest_size=16, person=b"dsmooth.attack").digest()
        first = 0

        def draw(draws: int) -> npt.NDArray[Any]:
            nonlocal first
            rows = self.source.noisy([(pixels, Chunk(Phase.PROBE, stream, first, draws))], draws)
            first += draws
            return np.asarray(rows.steps) / np.float32(rows.levels) - pixels / np.float32(LEVELS)

        return draw

    def _plain_answer(self, pixels: Pixels) -> int | str | None:
        x = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float() / 255
        with torch.inference_mode():
            return labels_of(self.alone(x))[0]
