"""A kind of noise that no shipped law is, with a source of its own: no file of src knows it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsmooth.smoothing.sources.base import Rows, Source
from dsmooth.smoothing.sources.grid import GridSource, random_words
from dsmooth.theory.laws.base import RandomLaw
from dsmooth.theory.laws.gaussian import Gaussian

__all__ = ["Brightness", "BrightnessSource"]


@dataclass(frozen=True, slots=True)
class Brightness(RandomLaw):
    """Gaussian noise on every coordinate and, of another strength, on the brightness of the whole image."""

    sigma: float
    brightness: float

    name: ClassVar[str] = "brightness for a test"
    norm: ClassVar[float] = 2.0
    source: ClassVar[str] = "contracts.kinds:BrightnessSource"

    @property
    def level(self) -> float:
        return self.sigma

    def _radius(self, *, tail, rival):
        return Gaussian(self.sigma)._radius(tail=tail, rival=rival)

    def _tail(self, radius):
        return Gaussian(self.sigma)._tail(radius)


class BrightnessSource(Source):
    """One word more a sample than the image has coordinates."""

    def __init__(self, law):
        self.pixelwise, self.whole = GridSource(Gaussian(law.sigma)), GridSource(Gaussian(law.brightness))

    def _noisy(self, asked, rows):
        batch, lost = [], []
        for pixels, chunk in asked:
            for words in random_words(chunk, pixels.size + 1):
                steps, some = self.pixelwise.steps(words[:, :-1])
                shift, other = self.whole.steps(words[:, -1:])
                batch.extend(((steps + shift).reshape(-1, *pixels.shape) + pixels).astype(np.int16))
                lost.extend(some | other)
        fill = rows - len(batch)
        return Rows(np.stack(batch + [batch[0]] * fill), np.array(lost + [False] * fill))

    def self_test(self, streams, shape):
        return self.pixelwise.self_test(streams, shape)
