"""The rules that make certificates of votes, by the names under which records know them."""

from __future__ import annotations

from typing import Final

from dsmooth.errors import BadParameter
from dsmooth.theory.cascade import cascade_of, is_one_scale
from dsmooth.theory.certifiers import Certifier, Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.votes import Votes

__all__ = ["CERTIFIERS", "certifier_named", "least_votes"]

CERTIFIERS: Final[dict[str, type[Cohen] | type[Multiclass]]] = {"multiclass": Multiclass, "cohen": Cohen}


def certifier_named(name: str) -> Certifier:
    """The certifier of that name ("multiclass-0.5": with another share); raises BadParameter for an unknown one."""
    kind, _, share = name.partition("-")
    if is_one_scale(name):
        return cascade_of(name).bound
    try:
        return Multiclass(float(share)) if kind == "multiclass" and share else CERTIFIERS[name]()
    except (KeyError, ValueError):
        raise BadParameter(f"bound must be one of {', '.join(CERTIFIERS)}, got {name!r}") from None


def least_votes(certifier: Certifier, alpha: float) -> int:
    """The least n with which anything can be certified: with fewer votes even unanimity abstains."""
    law, n = Gaussian(1.0), 1
    while certifier.certify(Votes({0: 1}, 1), Votes({0: n}, n), law, alpha=alpha, dim=1).abstained:
        n += 1
    return n
