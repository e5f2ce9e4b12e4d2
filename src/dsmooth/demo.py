"""The demo: real photographs, a real ImageNet classifier, one HTML page."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from dsmooth.audit.ball import snap
from dsmooth.audit.pgd import Ascent, no_noise
from dsmooth.classifiers.base import DifferentiableClassifier
from dsmooth.classifiers.specs import load_classifier
from dsmooth.errors import BadParameter, BadRun, require
from dsmooth.images.decoding import centred
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import LabelledImage
from dsmooth.records.files import write_whole
from dsmooth.records.question import PREDICTION
from dsmooth.report.filling import TEMPLATES, page
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.smoothing.sources.known import source_of
from dsmooth.smoothing.tally import Tally
from dsmooth.smoothing.views import Alone, pixels_of
from dsmooth.theory.bounds import check_count, round_down
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.votes import Phase, Votes

__all__ = ["Demo", "photographs"]

_PHOTOGRAPHS: Final = {
    "cameraman": "camera",  # first what the denoiser changes the most
    "coffee cup": "coffee",
    "cat": "chelsea",
    "motorcycle": "stereo_motorcycle",
    "rocket": "rocket",
    "astronaut": "astronaut",
}
_N0, _ALPHA = 20, 0.001
_UNDER_ATTACK = 40  # votes on each attacked image
_ASCENT: Final = Ascent(steps=20)
_HEADING: Final = "photograph    sigma  denoiser  certified answer          l2 radius      l_inf  votes"
_TOP = 4  # labels in each bar chart


@dataclass(frozen=True)
class _Trial:
    """One photograph at one sigma, with or without the denoiser."""

    sigma: float
    denoised: bool
    certificate: Certificate
    noisy: Pixels
    shown: Pixels
    attacked: _Attacked | None = None


@dataclass(frozen=True)
class _Attacked:
    """An adversarial image for the classifier alone, within the certified radius, and how it is classified."""

    pixels: Pixels
    alone: str
    """What the classifier alone calls it."""
    votes: Votes
    """Of the smoothed classifier."""


class Demo:
    """Certifies each photograph at each sigma, with and without the denoiser."""

    def __init__(
        self,
        *,
        sigmas: Sequence[float] = (0.25, 0.5),
        denoiser: str = "photo-light",
        n: int = 100,
        dtype: str = "bf16",
        seed: int | None = None,
    ) -> None:
        check_count(n, "n")
        if not sigmas:
            raise BadParameter("expected at least one sigma, got none")
        self.classifier = load_classifier("efficientnet-lite0")
        assert isinstance(self.classifier, DifferentiableClassifier)
        self.network = self.classifier.network()
        self.names = self.classifier.class_names or ()
        self.photographs = photographs(self.classifier.input_size or 224)
        self.n, self.key, self.denoiser = n, MasterKey.draw(seed), denoiser
        self.alone = Alone(self.classifier)
        self.smoothed = [
            (sigma, used is not None, SmoothedClassifier(self.classifier, used, sigma, dtype=dtype))
            for sigma in sigmas
            for used in (denoiser, None)
        ]

    @property
    def samples(self) -> int:
        """The number of noisy copies that the demo classifies."""
        each = [_N0 + self.n + (_UNDER_ATTACK if denoised else 0) for _, denoised, _ in self.smoothed]
        return len(self.photographs) * sum(each)

    def run(self, out: Path, *, on_samples: Callable[[int], None], on_line: Callable[[str], None]) -> Path:
        """`out`/demo.html shows every photograph: clean, noisy, denoised, the votes, the radius."""
        started = time.monotonic()
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadRun(f"{out}: the page cannot be written there ({error.strerror})") from error
        trials: dict[str, list[_Trial]] = {photograph.name: [] for photograph in self.photographs}
        drawn = 0

        def count(tally: Tally, chunk: Chunk, labels: object) -> None:
            nonlocal drawn
            drawn += chunk.count
            on_samples(drawn)

        on_line(_HEADING)
        for sigma, denoised, smoothed in self.smoothed:
            smoothed.settle(self.photographs[0].pixels.shape)
            question = smoothed.question(n0=_N0, n=self.n, alpha=_ALPHA)
            for tally in smoothed.tallies(self.photographs, question, self.key, on_votes=count):
                trial = self._trial(smoothed, sigma, denoised, tally, tally.certificate(question))
                trials[tally.image.name].append(trial)
                on_line(self._line(tally.image.name, trial))
            if denoised:
                self._attack(smoothed, trials, count, on_line)
                drawn += _UNDER_ATTACK * sum(trials[each.name][-1].attacked is None for each in self.photographs)
            smoothed.close()
        seconds = time.monotonic() - started
        on_line(f"each certificate holds with confidence {100 * (1 - _ALPHA):g} %; sampling took {seconds:.0f} s")
        file = out / "demo.html"
        write_whole(file, self._page(trials, seconds))
        return file

    def _trial(
        self, smoothed: SmoothedClassifier, sigma: float, denoised: bool, tally: Tally, certificate: Certificate
    ) -> _Trial:
        first = Chunk(Phase.ESTIMATION, tally.streams[Phase.ESTIMATION], 0, 1)
        rows = source_of(smoothed.law).noisy([(tally.image.pixels, first)], tally.batch_size)
        noisy, seen = rows.images(smoothed.pipeline.backend.device), smoothed.pipeline.images(rows)
        return _Trial(sigma, denoised, certificate, pixels_of(noisy), pixels_of(seen))

    def _attack(
        self,
        smoothed: SmoothedClassifier,
        trials: dict[str, list[_Trial]],
        count: Callable[[Tally, Chunk, Sequence[Any]], None],
        on_line: Callable[[str], None],
    ) -> None:
        """Attacks every photograph certified just now within the radius that is shown, and classifies the result."""
        shown = {each.name: round_down(trials[each.name][-1].certificate.radius) for each in self.photographs}
        made = {
            each.name: self._turned(each.pixels, shown[each.name])
            for each in self.photographs
            if float(shown[each.name]) > 0.0
        }
        images = [LabelledImage(name, pixels) for name, pixels in made.items()]
        question = smoothed.question(n=_UNDER_ATTACK, alpha=_ALPHA, bound=PREDICTION)
        for tally in smoothed.tallies(images, question, self.key, on_votes=count):
            name, votes = tally.image.name, tally.votes(Phase.PREDICTION)
            trial = trials[name][-1]
            attacked = _Attacked(made[name], self._plain_answer(made[name]), votes)
            trials[name][-1] = replace(trial, attacked=attacked)
            on_line(
                f"{name:<12}  {trial.sigma:>5g}  attacked within the radius: the classifier alone says {attacked.alone}, "
                f"smoothed {', '.join(f'{self._name(label)} {number}' for label, number in votes.ranked()[:2])}"
            )

    def _turned(self, pixels: Pixels, radius: str) -> Pixels:
        """The 8-bit image, strictly within the radius, that an attack on the classifier alone finds."""
        answer = self.alone.answer(pixels)
        assert isinstance(answer, int)
        delta = _ASCENT.attack(self.network, pixels, answer, no_noise, norm=2.0, radius=float(radius), seed=0)
        return snap(pixels, delta, 2.0, Fraction(radius))

    def _line(self, photograph: str, trial: _Trial) -> str:
        certificate = trial.certificate
        radius = linf = "-"
        if not certificate.abstained:
            radius, linf = round_down(certificate.radius), round_down(certificate.radius_in(math.inf), 6)
        votes = ", ".join(f"{self._name(label)} {count}" for label, count in certificate.estimation.ranked()[:2])
        used = "yes" if trial.denoised else "no"
        return (
            f"{photograph:<12}  {trial.sigma:>5g}  {used:<8}  {self._name(certificate.answer):<24.24}  "
            f"{radius:>9}  {linf:>9}  {votes}"
        )

    def _plain_answer(self, pixels: Pixels) -> str:
        """The classifier's answer on the photograph itself, without noise, denoiser or certificate."""
        return self._name(self.alone.answer(pixels))

    def _name(self, label: Any) -> str:
        return "abstain" if label is None else self.names[label]

    def _page(self, trials: dict[str, list[_Trial]], seconds: float) -> str:
        return page(
            TEMPLATES / "demo.html",
            styles=("style.css", "demo.css"),
            classifier=self.classifier.name,
            denoiser=self.denoiser,
            n0=_N0,
            n=self.n,
            alpha=_ALPHA,
            confidence=100 * (1 - _ALPHA),
            under_attack=_UNDER_ATTACK,
            samples=self.samples,
            seconds=seconds,
            commitment=self.key.commitment,
            photographs=[
                {
                    "name": photograph.name,
                    "clean": _uri(photograph.pixels),
                    "answer": self._plain_answer(photograph.pixels),
                    "sigmas": list(self._sides(photograph.pixels, trials[photograph.name])),
                }
                for photograph in self.photographs
            ],
        )

    def _sides(self, pixels: Pixels, trials: Sequence[_Trial]) -> Iterator[dict[str, Any]]:
        for with_denoiser in (trial for trial in trials if trial.denoised):
            without = next(t for t in trials if t.sigma == with_denoiser.sigma and not t.denoised)
            yield {
                "sigma": with_denoiser.sigma,
                "noisy": _uri(with_denoiser.noisy),
                "denoised": _uri(with_denoiser.shown),
                "with": self._outcome(with_denoiser.certificate),
                "without": self._outcome(without.certificate),
                "attack": self._under_attack(pixels, with_denoiser),
            }

    def _under_attack(self, pixels: Pixels, trial: _Trial) -> dict[str, Any] | None:
        if (attacked := trial.attacked) is None:
            return None
        change = attacked.pixels.astype(np.int64) - pixels
        gain = max(1, 127 // max(1, int(abs(change).max())))
        label, votes = attacked.votes.ranked()[0] if attacked.votes.counts else (None, 0)
        return {
            "pixels": _uri(attacked.pixels),
            "change": _uri((128 + gain * change).clip(0, 255).astype(np.uint8)),
            "gain": gain,
            "size": round_down(math.sqrt(float((change**2).sum())) / 255),
            "alone": attacked.alone,
            "turned": attacked.alone != self._plain_answer(pixels),
            "smoothed": self._name(label),
            "votes": votes,
            "stood": label == trial.certificate.answer,
        }

    def _outcome(self, certificate: Certificate) -> dict[str, Any]:
        ranked = certificate.estimation.ranked()
        rest = certificate.estimation.trials - sum(count for _, count in ranked[:_TOP])
        linf = certificate.radius_in(math.inf)
        return {
            "answer": None if certificate.abstained else self._name(certificate.answer),
            "radius": round_down(certificate.radius),
            "linf": round_down(linf, 6),
            "levels": round_down(255 * linf, 3),
            "votes": [(self._name(label), count) for label, count in ranked[:_TOP]]
            + ([("other labels", rest)] if rest else []),
        }


def photographs(size: int = 224) -> list[LabelledImage]:
    """Photographs that come with scikit-image, cropped to squares of `size` pixels; raises MissingPackage without it."""
    data = require("skimage.data", "demo")
    found = []
    for name, function in _PHOTOGRAPHS.items():
        made = getattr(data, function)()
        array = made[0] if isinstance(made, tuple) else made  # the motorcycle is a pair for two eyes
        picture, steps = centred(Image.fromarray(np.asarray(array)).convert("RGB"), size)
        found.append(LabelledImage(name, np.asarray(picture), None, tuple(steps)))
    return found


def _uri(pixels: Pixels) -> str:
    """The picture as a data URI; JPEG for display, never for certifying."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
