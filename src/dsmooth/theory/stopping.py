"""Early stopping: rules that look at the votes as they come, and stop once the result is known.

Which of the radii r_1 < r_2 < ... hold? (One radius: certify it or stop.) A radius is certified at a look when the evidence
of mixture.py, at level (1 - w) alpha, or the Clopper-Pearson bound on all N votes, at level w alpha, rejects
P(class A) <= q_r = Phi(r / sigma). A look compares the misses (trials that were not for A) with a table that is made once.

Source: docs/theory.md, claims 11 and 12.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import clopper_pearson_upper
from dsmooth.theory.certifiers import Certificate, conclude
from dsmooth.theory.laws.base import Law
from dsmooth.theory.mixture import most_misses
from dsmooth.theory.predictive import predicted_share
from dsmooth.theory.votes import StoppedVotes, Votes, selected

__all__ = ["FINAL_SHARE", "HOPELESS", "RadiiRule", "StoppingRule", "Verdict", "looks", "next_look", "stopped"]

FINAL_SHARE: Final = 0.8  # of alpha, for the bound on all N votes
HOPELESS: Final = 0.01  # a radius with a smaller chance of being certified is given up
_STEP: Final = 100  # votes between looks, until 5 % of the votes so far are more

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a look."""

    held: int
    """How many claims hold, of those that the rule can make, the weakest first."""
    more: int | None
    """The number of votes at which it wants to look again; None: nothing is left to find out."""


@runtime_checkable
class StoppingRule(Protocol):
    """Decides from the votes so far whether more are needed. The first look is at none, when the label is selected.

    It looks at numbers of votes that follow from earlier looks alone, never at more than `most`. `held` is what earlier
    looks have come to: what held once holds.
    """

    @property
    def most(self) -> int: ...

    def look(self, selection: Votes, estimation: Votes, *, held: int, dim: int) -> Verdict: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiiRule:
    """Certifies the largest of `radii` that holds, with as few as possible of at most `most` votes.

    A certificate is wrong with probability at most alpha, whatever the looks. radii: increasing, in the given norm, pixels
    in [0, 1]; the one that a certificate names is included in its promise.
    """

    radii: tuple[float, ...]
    most: int
    law: Law
    alpha: float
    norm: float | None = None
    randomised: ClassVar[bool] = False
    """Evidence that may be looked at at any time has no use for W."""

    @property
    def name(self) -> str:
        """decision (one radius) or curve: what stands in a certificate as the bound that it rests on."""
        return "decision" if len(self.radii) == 1 else "curve"

    @property
    def demand(self) -> RadiiRule:
        """How the number of votes is decided: by this rule."""
        return self

    def tails(self, dim: int) -> tuple[float, ...]:
        """1 - q_r for each radius."""
        return _tails(self.radii, self.law, self.norm, dim)

    def least_votes(self, dim: int) -> list[int]:
        """For each radius, the least `most` with which it can be certified: with fewer even unanimity is not enough."""
        return [math.ceil(math.log(FINAL_SHARE * self.alpha) / math.log1p(-tail)) for tail in self.tails(dim)]

    def look(self, selection: Votes, estimation: Votes, *, held: int, dim: int) -> Verdict:
        """How many radii hold, the smallest first, and when to look again."""
        label = selected(selection)
        if label is None:
            return Verdict(0, None)
        tails = self.tails(dim)
        place = _place(estimation.trials, self.most)
        misses = estimation.trials - estimation.of(label)
        held = max(held, int(np.count_nonzero(misses <= _certifying(tails, self.most, self.alpha)[:, place])))
        if held == len(self.radii) or estimation.trials == self.most:
            return Verdict(held, None)
        hopeful = _hopeful(tails, self.most, self.alpha, selection.trials - selection.of(label), selection.trials)
        return Verdict(held, looks(self.most)[place + 1] if misses <= hopeful[held, place] else None)

    def chance(self, selection: Votes, dim: int) -> float:
        """A guess, from the selection votes, at the chance that all votes certify the largest radius. No bound."""
        from scipy import special

        label = selected(selection)
        final = _final(self.tails(dim)[-1], self.most, self.alpha)
        if label is None or final < 0:
            return 0.0
        a, b = predicted_share(selection.trials - selection.of(label), selection.trials, max(self.most, 2))
        return float(special.betainc(a, b, min((final + 0.5) / self.most, 1.0)))

    def certify(self, selection: Votes, estimation: Votes | StoppedVotes, dim: int, weight: float = 1.0) -> Certificate:
        """The certificate of the best look; abstains where no radius held at it."""
        if not isinstance(estimation, StoppedVotes):
            raise BadParameter("expected votes of a rule that stops early, got a number of votes fixed in advance")
        tail, rival = self._justified(selection, estimation.best, dim)
        return conclude(
            certifier=self.name,
            answer=selected(selection),
            tail=tail,
            rival=rival,
            selection=selection,
            estimation=estimation.last,
            law=self.law,
            alpha=self.alpha,
            norm=self.norm,
            dim=dim,
        )

    def _justified(self, selection: Votes, best: Votes, dim: int) -> tuple[float, float]:
        """Bounds on 1 - P(class A) and on any rival's probability by the votes at a look; 1 where no radius holds."""
        held = self.look(selection, best, held=0, dim=dim).held
        tail = self.tails(dim)[held - 1] if held else 1.0
        return tail, tail


def stopped(
    rule: StoppingRule, selection: Votes, after: Callable[[int], Votes | None], dim: int
) -> StoppedVotes | None:
    """The votes at which the rule stops, if these are the votes `after` so many trials.

    None where it wants to look at votes that there are not (None).
    """
    held, best, trials = 0, Votes({}, 0), 0
    while (votes := after(trials)) is not None:
        verdict = rule.look(selection, votes, held=held, dim=dim)
        if verdict.held > held:
            held, best = verdict.held, votes
        if verdict.more is None:
            return StoppedVotes(votes, best)
        trials = min(verdict.more, rule.most)
    return None


@lru_cache(maxsize=64)
def looks(most: int) -> tuple[int, ...]:
    """The numbers of votes at which a rule looks: 0, every 100, then every 5 %, and `most`."""
    places, n = [], 0
    while n < most:
        places.append(n)
        n += max(_STEP, n // 20)
    return (*places, most)


def next_look(trials: int, most: int) -> int | None:
    """The number of votes at which a rule looks after so many, which have to be one of them; None after the last."""
    return None if trials == most else looks(most)[_place(trials, most) + 1]


@lru_cache(maxsize=64)
def _tails(radii: tuple[float, ...], law: Law, norm: float | None, dim: int) -> tuple[float, ...]:
    return tuple(law.tail(radius, norm=norm, dim=dim) for radius in radii)


def _place(trials: int, most: int) -> int:
    places = looks(most)
    place = bisect_left(places, trials)
    if place == len(places) or places[place] != trials:
        raise BadParameter(f"this rule does not look at {trials} votes (at most {most})")
    return place


@lru_cache(maxsize=64)
def _final(tail: float, most: int, alpha: float) -> int:
    """The most misses in all `most` votes with which the Clopper-Pearson bound is at most `tail`; -1: none."""
    low, high = -1, most
    while high - low > 1:
        middle = (low + high) // 2
        if clopper_pearson_upper(middle, most, FINAL_SHARE * alpha) <= tail:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=64)
def _certifying(tails: tuple[float, ...], most: int, alpha: float) -> Counts:
    """(radii, looks): the most misses with which the radius is certified at the look.

    By the evidence, or because the bound on all votes will hold even if every vote to come is a miss. Falling in the radius,
    so that a radius holds only where all smaller ones do.
    """
    n = np.array(looks(most), dtype=np.int64)
    rows = [
        np.maximum(most_misses(n, tail, (1.0 - FINAL_SHARE) * alpha), _final(tail, most, alpha) - (most - n))
        for tail in tails
    ]
    return np.minimum.accumulate(np.stack(rows), axis=0)


@lru_cache(maxsize=4096)
def _hopeful(tails: tuple[float, ...], most: int, alpha: float, misses0: int, n0: int) -> Counts:
    """(radii, looks): the most misses with which the radius is worth more votes, after `misses0` of n0 selection votes.

    Futility cannot make a certificate false, so this is a good guess and no bound: the misses to come are predicted from all
    votes so far, and the radius is given up where the chance that Clopper-Pearson certifies it in the end is below 1 %.
    """
    from scipy import special

    n = np.array(looks(most), dtype=np.int64)[None, :]
    to_come = most - n
    final = np.array([_final(tail, most, alpha) for tail in tails], dtype=np.int64)[:, None]
    low, high = np.full((len(tails), n.shape[1]), -1), np.minimum(n, final) + 1  # low is hopeful (or -1), high is not
    while np.any(high - low > 1):
        middle = (low + high) // 2
        a, b = predicted_share(middle + misses0, n + n0, np.maximum(to_come, 2))
        chance = special.betainc(a, b, np.clip((final - middle + 0.5) / np.maximum(to_come, 1), 0.0, 1.0))
        hope = (chance >= HOPELESS) | (to_come <= 1)
        low, high = np.where((middle >= 0) & hope, middle, low), np.where((middle >= 0) & ~hope, middle, high)
    return low
