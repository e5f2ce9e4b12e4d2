"""Two runs on the same images: whether they differ by more than chance, of images and noise, explains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter

__all__ = ["MeanDifference", "mean_difference", "sign_test"]


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """The mean over the images of second minus first, and its standard error (NaN for a single image)."""

    mean: float
    standard_error: float


def mean_difference(first: npt.ArrayLike, second: npt.ArrayLike) -> MeanDifference:
    """The difference of two values of the same images, in pairs: what varies from image to image cancels.

    first, second: values of shape (M,), in the same order of images. Raises BadParameter unless both have one shape and
    at least one value.

    Source: docs/theory.md, claim 31.
    """
    before, after = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if before.shape != after.shape or before.ndim != 1 or not before.size:
        raise BadParameter(f"expected two values of each image, got shapes {before.shape} and {after.shape}")
    differences = after - before
    spread = float(differences.std(ddof=1)) if differences.size > 1 else math.nan
    return MeanDifference(float(differences.mean()), spread / math.sqrt(differences.size))


def sign_test(only_first: int, only_second: int) -> float:
    """The two-sided p-value of the exact sign test, in [0, 1]: small where one of two runs is better.

    Of images drawn at random, `only_first` are right under the first run alone, `only_second` under the second alone. Where
    an image of the population is as likely to be one as the other, the value is at most t with probability at most t.
    Raises BadParameter for negative counts.

    Source: docs/theory.md, claim 31 (McNemar 1947, in its exact form).
    """
    from scipy.stats import binomtest  # here: SciPy is slow to import

    if only_first < 0 or only_second < 0:
        raise BadParameter(f"expected counts of at least 0, got {only_first} and {only_second}")
    differing = only_first + only_second
    return float(binomtest(only_first, differing).pvalue) if differing else 1.0
