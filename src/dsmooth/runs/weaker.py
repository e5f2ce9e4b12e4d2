"""Claims verified only within a smaller radius than they state, and how that is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from dsmooth.theory.bounds import round_down
from dsmooth.theory.cascade import CascadeCertificate
from dsmooth.theory.certifiers import Certificate

__all__ = ["Weaker", "less_of", "weakest"]

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
