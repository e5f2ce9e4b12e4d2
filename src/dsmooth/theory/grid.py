"""Gaussian noise on the pixel grid, as exact integer thresholds.

Images are bytes. Noise drawn as floating point numbers leaves marks in the low bits that a classifier can read, and
then the theorem says nothing. Here the noise is a whole number K of steps of 1/255 with

    P(K <= k) = Phi((k + 1/2) / (255 sigma)),

which is exactly the law of a Gaussian rounded to the nearest step. Because x lies on the grid, x + K/255 is
round(x + eps): the classifier "round, then ask f" under true Gaussian noise, to which the theorem applies without slack.

Source: docs/theory.md, claim 1; Voracek and Hein 2023 (arXiv 2207.07209) and Jin et al. 2022 (arXiv 2205.10159) on what
goes wrong otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dsmooth.theory.noises import Gaussian

__all__ = ["LEVELS", "WORD_BITS", "GridLaw", "grid_law"]

LEVELS = 255  # steps of the pixel grid in [0, 1]
WORD_BITS = 64  # a uniform word of so many bits decides one coordinate
_REACH = 9.25  # in sigmas: Phi(-9.25) * 2^64 < 1/2, so every word is on one side of the last threshold or undecided
_DIGITS = 40


@dataclass(frozen=True, slots=True)
class GridLaw:
    """The distribution function of the noise, in units of 2^-64.

    thresholds[j] = floor(2^64 P(K <= first + j)), increasing, uint64. A uniform 64-bit word u means
    K = first + #{j : thresholds[j] < u}, unless u equals a threshold: then 64 bits do not decide and the trial gives no
    vote (fewer than 4,720 sigma of the 2^64 words).
    """

    first: int
    thresholds: npt.NDArray[np.uint64]


@lru_cache(maxsize=16)
def grid_law(noise: Gaussian) -> GridLaw:
    """The law of sigma's noise on the grid of 1/255, correct in every bit (40-digit arithmetic)."""
    import mpmath  # 0.1 s, needed only where noise is drawn

    exact = mpmath.MPContext()  # of its own: mpmath's usual precision is shared by all threads
    exact.dps = _DIGITS
    scale = LEVELS * exact.mpf(noise.sigma)  # the binary sigma that the record names, not its decimal neighbour
    reach = int(exact.ceil(_REACH * scale)) + 1
    whole = exact.mpf(2) ** WORD_BITS
    # P(K <= k) for k < 0; the upper half is its mirror image: P(K <= k) = 1 - P(K <= -k - 1)
    lower = [whole * exact.erfc((-k - exact.mpf(1) / 2) / scale / exact.sqrt(2)) / 2 for k in range(-reach, 0)]
    floors = [int(exact.floor(value)) for value in lower]
    mirror = [int(exact.floor(whole - value)) for value in reversed(lower)]
    thresholds = np.array(floors + mirror, dtype=np.uint64)
    thresholds.setflags(write=False)
    return GridLaw(first=-reach, thresholds=thresholds)
