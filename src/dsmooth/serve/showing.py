"""What the page shows beside a certificate: the noise, the denoised picture, and an attack on the undefended classifier."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from PIL import Image

from dsmooth.audit.ball import distance_text, snap
from dsmooth.audit.pgd import Ascent, no_noise
from dsmooth.classifiers.base import DifferentiableClassifier
from dsmooth.images.pixels import Pixels
from dsmooth.records.digests import digest_image
from dsmooth.serve.refusals import Refused
from dsmooth.serve.served import Served
from dsmooth.smoothing.chunks import Chunk, MasterKey
from dsmooth.smoothing.sources.known import source_of
from dsmooth.smoothing.views import Alone, pixels_of
from dsmooth.theory.votes import Label, Phase

__all__ = ["Attacked", "Shown", "Shows", "png"]

_STEPS: Final = 20
_LARGEST: Final = Fraction(100)
_GREY: Final = 128


@dataclass(frozen=True)
class Shown:
    """A picture with noise, and the same without it again; PNG files."""

    picture: bytes
    """What the classifier is asked about: cut to its size."""
    noisy: bytes
    denoised: bytes | None
    answer: Label | None
    """Of the classifier alone, to the picture itself; None for a service, which would charge for it."""


@dataclass(frozen=True)
class Attacked:
    """A change inside a ball, looked for against the classifier alone."""

    pixels: Pixels
    distance: str
    before: Label | None
    after: Label | None
    difference: bytes
    """PNG: what was changed, magnified, around grey."""
    magnified: int


class Shows:
    """The demonstrations of one model; each call takes a second or so of one core."""

    def __init__(self, served: Served) -> None:
        self._served = served
        classifier = served.smoothed.classifier
        self._alone = None if classifier.traits.billed else Alone(classifier)

    def show(self, pixels: Pixels) -> Shown:
        """One draw of the noise, which no certificate uses, on this picture."""
        smoothed, rows = self._served.smoothed, self._served.smoothed.sizes.rows(pixels.shape)
        stream = MasterKey.draw().stream(smoothed.question(**self._served.terms), digest_image(pixels), Phase.PROBE)
        drawn = source_of(smoothed.law).noisy([(pixels, Chunk(Phase.PROBE, stream, 0, 1))], rows)
        noisy = pixels_of(drawn.images(smoothed.pipeline.backend.device))
        denoised = None if smoothed.denoiser is None else png(pixels_of(smoothed.pipeline.images(drawn)))
        return Shown(png(pixels), png(noisy), denoised, self._answer(pixels))

    def attack(self, pixels: Pixels, radius: Fraction) -> Attacked:
        """A change of at most this radius, in the norm of the noise's theorem, that lowers the classifier's own answer."""
        classifier, law = self._served.smoothed.classifier, self._served.smoothed.law
        before = self._answer(pixels)
        if not isinstance(classifier, DifferentiableClassifier) or not isinstance(before, int):
            raise Refused("bad_request", "an attack needs gradients: the classifier must be a torch network")
        if not 0 < radius <= _LARGEST:
            raise Refused("bad_request", f"expected a radius above 0 and at most {_LARGEST}, got another")
        ascent = Ascent(steps=_STEPS, draws=1)
        delta = ascent.attack(
            classifier.network(), pixels, before, no_noise, norm=law.norm, radius=float(radius), seed=0
        )
        moved = snap(pixels, delta, law.norm, radius)
        steps = moved.astype(np.int16) - pixels
        magnified = max(1, _GREY // max(1, int(abs(steps).max())))
        difference = (_GREY + magnified * steps).clip(0, 255).astype(np.uint8)
        distance = distance_text(pixels, moved, law.norm)
        return Attacked(moved, distance, before, self._answer(moved), png(difference), magnified)

    def _answer(self, pixels: Pixels) -> Label | None:
        return None if self._alone is None else self._alone.answer(pixels)


def png(pixels: Pixels) -> bytes:
    """The pixels as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(buffer, "PNG")
    return buffer.getvalue()
