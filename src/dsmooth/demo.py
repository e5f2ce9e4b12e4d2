"""The main job on an embedded default: real photographs, a real ImageNet classifier, one page to look at."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from dsmooth.backends.eager import Eager
from dsmooth.classifiers.base import Classifier
from dsmooth.classifiers.specs import load_classifier
from dsmooth.errors import BadParameter, BadRun, require
from dsmooth.images.decoding import centred
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import LabelledImage
from dsmooth.records.files import write_whole
from dsmooth.report.filling import TEMPLATES, filled
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.smoothing.sources.base import Rows
from dsmooth.smoothing.sources.known import source_of
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.bounds import check_count, round_down
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.votes import Phase

__all__ = ["Demo"]

_PHOTOGRAPHS: Final = {
    "cat": "chelsea",
    "coffee cup": "coffee",
    "motorcycle": "stereo_motorcycle",
    "cameraman": "camera",
    "rocket": "rocket",
    "astronaut": "astronaut",
}
_N0, _ALPHA = 20, 0.001
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


class Demo:
    """Certifies each photograph at each sigma, with the denoiser and without."""

    def __init__(
        self,
        *,
        sigmas: Sequence[float] = (0.25, 0.5),
        denoiser: str = "photo",
        n: int = 100,
        dtype: str = "bf16",
        seed: int | None = None,
    ) -> None:
        check_count(n, "n")
        if not sigmas:
            raise BadParameter("expected at least one sigma, got none")
        self.classifier: Classifier = load_classifier("efficientnet-lite0")
        self.names = self.classifier.class_names or ()
        self.photographs = _photographs(self.classifier.input_size or 224)
        self.n, self.key, self.denoiser = n, MasterKey.draw(seed), denoiser
        self.plain = Pipeline(self.classifier, None, 0.0, Eager("fp32", 1))
        self.smoothed = [
            (sigma, used is not None, SmoothedClassifier(self.classifier, used, sigma, dtype=dtype))
            for sigma in sigmas
            for used in (denoiser, None)
        ]

    @property
    def samples(self) -> int:
        """Noisy copies that the demo classifies, all in all."""
        return len(self.photographs) * len(self.smoothed) * (_N0 + self.n)

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
            smoothed.close()
        seconds = time.monotonic() - started
        on_line(f"each certificate holds with confidence {100 * (1 - _ALPHA):g} %; sampling took {seconds:.0f} s")
        page = out / "demo.html"
        write_whole(page, self._page(trials, seconds))
        return page

    def _trial(
        self, smoothed: SmoothedClassifier, sigma: float, denoised: bool, tally: Tally, certificate: Certificate
    ) -> _Trial:
        first = Chunk(Phase.ESTIMATION, tally.streams[Phase.ESTIMATION], 0, 1)
        rows = source_of(smoothed.law).noisy([(tally.image.pixels, first)], tally.batch_size)
        seen = smoothed.pipeline.images(rows)[0].float().permute(1, 2, 0).numpy()
        noisy = np.asarray(rows.steps)[0].clip(0, 255).astype(np.uint8)
        shown = np.rint(seen.clip(0.0, 1.0) * 255).astype(np.uint8)
        return _Trial(sigma, denoised, certificate, noisy, shown)

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
        """What the classifier says of the photograph itself: no noise, no denoiser, no promise."""
        return self._name(self.plain.labels(Rows(pixels[None].astype(np.int16)))[0])

    def _name(self, label: Any) -> str:
        return "abstain" if label is None else self.names[label]

    def _page(self, trials: dict[str, list[_Trial]], seconds: float) -> str:
        return filled(
            TEMPLATES / "demo.html",
            classifier=self.classifier.name,
            denoiser=self.denoiser,
            n0=_N0,
            n=self.n,
            alpha=_ALPHA,
            confidence=100 * (1 - _ALPHA),
            samples=self.samples,
            seconds=seconds,
            commitment=self.key.commitment,
            photographs=[
                {
                    "name": photograph.name,
                    "clean": _uri(photograph.pixels),
                    "answer": self._plain_answer(photograph.pixels),
                    "sigmas": list(self._sides(trials[photograph.name])),
                }
                for photograph in self.photographs
            ],
        )

    def _sides(self, trials: Sequence[_Trial]) -> Iterator[dict[str, Any]]:
        for with_denoiser in (trial for trial in trials if trial.denoised):
            without = next(t for t in trials if t.sigma == with_denoiser.sigma and not t.denoised)
            yield {
                "sigma": with_denoiser.sigma,
                "noisy": _uri(with_denoiser.noisy),
                "denoised": _uri(with_denoiser.shown),
                "with": self._outcome(with_denoiser.certificate),
                "without": self._outcome(without.certificate),
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


def _photographs(size: int) -> list[LabelledImage]:
    data = require("skimage.data", "demo")
    photographs = []
    for name, function in _PHOTOGRAPHS.items():
        made = getattr(data, function)()
        array = made[0] if isinstance(made, tuple) else made  # the motorcycle is a pair for two eyes
        picture, steps = centred(Image.fromarray(np.asarray(array)).convert("RGB"), size)
        photographs.append(LabelledImage(name, np.asarray(picture), None, tuple(steps)))
    return photographs


def _uri(pixels: Pixels) -> str:
    """The picture inside the page; JPEG for looking at, never for certifying."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
