"""From the certified images of a sample to the accuracy of the population they were drawn from."""

from __future__ import annotations

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_level, clopper_pearson_upper

__all__ = ["population_lower_bound"]


def population_lower_bound(correct: int, images: int, alpha: float, *, delta: float = 0.05) -> float:
    """A lower bound, at confidence 1 - delta, on the share of the population that is truly robust and correct.

    `correct` of `images` sampled images were certified for the right label at the radius in question, each certificate
    false with probability at most alpha. With a share p of truly robust images, at most p + (1 - p) alpha are expected to be
    certified, which is solved for p. In [0, 1].

    Source: docs/theory.md, claim 7 (Clopper and Pearson 1934 for the sampling of images).
    """
    if alpha != 0.0:  # of a law all of whose outcomes were asked for: nothing is left to chance
        check_level(alpha)
    if images < 1:
        raise BadParameter("expected at least one image, got none")
    lower = 1.0 - clopper_pearson_upper(images - correct, images, delta)
    return max(0.0, (lower - alpha) / (1.0 - alpha))
