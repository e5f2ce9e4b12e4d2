"""A certificate for a whole family of images: the answer holds around every centre of a cover.

Each centre is tested at the full alpha, because all of them must hold (docs/theory.md, claim 24). Which radius the cover has
is decided by the image and the selection votes alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.certifiers import Certificate, conclude
from dsmooth.theory.laws.base import Law
from dsmooth.theory.stopping import RadiiRule
from dsmooth.theory.threats.base import Threat
from dsmooth.theory.threats.covering import Cover, covers_of
from dsmooth.theory.votes import Label, StoppedVotes, Votes

__all__ = ["CoverRule", "CoverVotes"]

_LIKELY: Final = 0.95  # the largest radius with such a chance at the image itself is taken
_HOPELESS: Final = 0.01


@dataclass(frozen=True, slots=True)
class CoverVotes:
    """The votes at the centres of a cover, in its order, up to the first that failed.

    Only the rule that chose the cover can conclude anything from them.
    """

    rho: float
    """Of the cover; 0 where none was asked about."""
    centres: int
    """How many the cover has."""
    parts: tuple[StoppedVotes, ...]

    def __post_init__(self) -> None:
        if not self.rho >= 0.0 or not len(self.parts) <= self.centres or (self.rho == 0.0) != (self.centres == 0):
            raise BadParameter(f"expected votes at the centres of a cover, got {len(self.parts)} of {self.centres}")

    @property
    def pooled(self) -> Votes:
        """All votes together: what was drawn, not what the certificate rests on."""
        counts: Counter[Label] = Counter()
        for part in self.parts:
            counts.update(part.last.counts)
        return Votes(counts, sum(part.last.trials for part in self.parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverRule:
    """Certifies that the label selected at an image is the answer at every image of a family made of it.

    A certificate is wrong with probability at most alpha. radii: those that a cover may have, rising, in l2, pixels in
    [0, 1]. most: votes at a centre, at most.
    """

    threat: Threat
    radii: tuple[float, ...]
    most: int
    law: Law
    alpha: float
    randomised: ClassVar[bool] = False
    """Its centres are looked at on the way."""

    def __post_init__(self) -> None:
        if self.law.norm != 2.0:
            raise BadParameter(f"a cover is measured in l2, under Gaussian noise, got noise {self.law.name}")

    @property
    def name(self) -> str:
        """What stands in a certificate as the rule that it rests on."""
        return "cover"

    @property
    def demand(self) -> CoverRule:
        """How the votes are decided: by this rule."""
        return self

    def rule(self, rho: float) -> RadiiRule:
        """What decides at each centre of a cover."""
        return RadiiRule(radii=(rho,), most=self.most, law=self.law, alpha=self.alpha, norm=2.0)

    def covers(self, pixels: npt.NDArray[np.uint8]) -> dict[float, Cover]:
        """The cover of this image (H, W, C) for each radius; radii for which none is found are left out."""
        return covers_of(self.threat, pixels, self.radii)

    def choose(self, covers: Mapping[float, Cover], selection: Votes, dim: int) -> Cover | None:
        """The cover to be asked about after these selection votes; None where nothing is likely to come of it.

        The largest radius that the image itself is likely to have: fewest centres. Of two covers with as many centres the
        smaller radius. Where no radius is likely, the smallest, which is the easiest.
        """
        chances = {rho: self.rule(rho).chance(selection, dim) for rho in covers}
        if not chances or max(chances.values()) < _HOPELESS:
            return None
        likely = [rho for rho, chance in chances.items() if chance >= _LIKELY] or [min(covers)]
        fewest = min(len(covers[rho].centres) for rho in likely)
        return covers[min(rho for rho in likely if len(covers[rho].centres) == fewest)]

    def held(self, selection: Votes, part: StoppedVotes, rho: float, dim: int) -> bool:
        """Whether the claim holds by the votes at one centre."""
        return not self.rule(rho).certify(selection, part, dim).abstained

    def certify(
        self, selection: Votes, estimation: Votes | StoppedVotes | CoverVotes, dim: int, weight: float = 1.0
    ) -> Certificate:
        """The certificate of the selected label, where all centres hold; its radius is rho, around each centre."""
        if not isinstance(estimation, CoverVotes):
            raise BadParameter("expected the votes at the centres of a cover, got votes at one image")
        parts = [self.rule(estimation.rho).certify(selection, part, dim) for part in estimation.parts]
        whole = len(parts) == estimation.centres and not any(part.abstained for part in parts)
        if parts and whole:
            certificate = parts[0]  # that of the image itself: all have the same label, radius and bounds
        else:
            certificate = conclude(
                certifier=self.name, answer=None, tail=1.0, rival=1.0, selection=selection, estimation=Votes({}, 0),
                law=self.law, alpha=self.alpha, norm=2.0, dim=dim,
            )  # fmt: skip
        return replace(
            certificate,
            certifier=self.name,
            estimation=estimation.pooled,
            threat=self.threat,
            centres=estimation.centres,
        )
