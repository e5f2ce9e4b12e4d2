"""Two kinds of noise that no shipped law is: the contracts are wide enough for them, and no file of src knows them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsmooth.smoothing.sources.base import Rows, Source
from dsmooth.smoothing.sources.grid import GridSource, random_words
from dsmooth.theory.laws.base import EnumeratedLaw, RandomLaw
from dsmooth.theory.laws.gaussian import Gaussian

__all__ = ["Brightness", "BrightnessSource", "Splitting", "SplittingSource"]


@dataclass(frozen=True, slots=True)
class Splitting(EnumeratedLaw):
    """Splitting noise with one fixed template (Levine and Feizi 2021): `levels` outcomes, all of which are asked for."""

    levels: int

    name: ClassVar[str] = "splitting for a test"
    norm: ClassVar[float] = 1.0
    source: ClassVar[str] = "contracts.kinds:SplittingSource"

    @property
    def level(self) -> float:
        return self.levels / 510 / 3**0.5

    @property
    def samples(self) -> int:
        return self.levels

    def _radius(self, *, tail, rival):
        return round((1.0 - tail - rival) * self.levels) // 2 / 255

    def _tail(self, radius):
        return 0.5 - radius * 255 / self.levels


class SplittingSource(Source):
    """Each pixel becomes the centre of its cell between neighbouring splits, in whole steps of 1/1020."""

    def __init__(self, law):
        self.levels = law.levels

    def _noisy(self, asked, rows):
        size = 2 * self.levels
        made = []
        for pixels, chunk in asked:
            template = np.random.Generator(np.random.Philox(7)).integers(0, self.levels, pixels.size)
            template = template.reshape(pixels.shape)
            for sample in range(chunk.first, chunk.first + chunk.count):
                odd = 2 * ((template + sample) % self.levels) + 1
                centre = 2 * -((odd - 2 * pixels.astype(np.int64)) // size) * self.levels + odd
                made.append(np.minimum(centre, 510) + np.maximum(centre - size, 0))
        batch = np.stack([*made, *[made[0]] * (rows - len(made))])
        return Rows(batch.astype(np.int16), levels=1020)

    def self_test(self, streams, shape):
        return {}


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
