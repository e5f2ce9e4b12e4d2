"""Claims verified only within a smaller radius than they state, and how that is reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from dsmooth.runs.agreement import CONFIDENCE
from dsmooth.runs.verify import Check, Outcome
from dsmooth.theory.bounds import round_down
from dsmooth.theory.cascade import CascadeCertificate
from dsmooth.theory.certifiers import Certificate

__all__ = ["Left", "Weaker", "less_of", "weakest", "what_is_left"]

_NAMED: Final = 5
"""Claims of a smaller radius that are named; the others are counted."""


class Weaker(NamedTuple):
    """A claim that was verified within a smaller radius than is claimed."""

    name: str
    """Of the verifier's image: what a file calls it may say anything."""
    claimed: float
    left: Certificate | CascadeCertificate


def weakest(weaker: Sequence[Weaker]) -> str:
    """A suffix that lists them, largest loss first; empty where there are none."""
    told = [
        f"{name}: verified within l{left.norm:g} {round_down(left.radius)} (claimed {round_down(claimed)})"
        for name, claimed, left in sorted(weaker, key=lambda one: one.left.radius / one.claimed)[:_NAMED]
    ]
    more = [f"and {len(weaker) - _NAMED} more"] if len(weaker) > _NAMED else []
    return "".join(f"; {one}" for one in (*told, *more))


def less_of(count: int, claims: int, what: str = "claims") -> str:
    """The same, for the last line of the output."""
    return f"{count} of {claims} {what} within a smaller radius" if count else ""


class Left(NamedTuple):
    """A claim that rests on several runs together, and what is left of it when all that may be wrong is charged."""

    name: str
    claimed: Certificate | CascadeCertificate
    left: Certificate | CascadeCertificate | None
    """None where votes that choose the answer are others."""


def what_is_left(what: str, told: str, lefts: Iterable[Left], *, parts: int = 0, of: str = "claims") -> Check:
    """The check of such claims. parts: of how many runs only a part of the votes was asked for again."""
    claims = lost = 0
    weaker: list[Weaker] = []
    for name, claimed, left in lefts:
        if claimed.abstained:
            continue
        claims += 1
        if left is None or left.abstained:
            lost += 1
        elif left.radius < claimed.radius:
            weaker.append(Weaker(name, claimed.radius, left))
    if lost:
        detail = f"{told}; {lost} of them fail if the votes that may be wrong are charged against them"
        return Check(what, Outcome.OPEN, detail, "a larger --share, or --all")
    added = f"; with {parts * CONFIDENCE:g} added to alpha" if parts and weaker else ""
    return Check(what, Outcome.HOLDS, f"{told}{weakest(weaker)}{added}", less=less_of(len(weaker), claims, of))
