"""The rules that make certificates of votes, by the names under which records know them."""

from __future__ import annotations

from typing import Final

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import weight_of
from dsmooth.theory.cascade import cascade_of, is_one_scale
from dsmooth.theory.certifiers import RANDOMISED, Certifier, Cohen, Multiclass
from dsmooth.theory.changed import paired_named
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.top_k import top_k_named
from dsmooth.theory.votes import Votes

__all__ = ["CERTIFIERS", "certifier_named", "least_votes"]

CERTIFIERS: Final[dict[str, Certifier]] = {
    certifier.name: certifier
    for certifier in (Multiclass(), Cohen(), Multiclass(randomised=True), Cohen(randomised=True))
}


def certifier_named(name: str) -> Certifier:
    """The certifier of that name ("multiclass-0.5": with another share); raises BadParameter for an unknown one."""
    if name in CERTIFIERS:
        return CERTIFIERS[name]
    if (rule := top_k_named(name)) is not None:
        return rule
    if (pairs := paired_named(name)) is not None:
        return pairs
    if is_one_scale(name):
        return cascade_of(name).bound
    kind, _, share = name.removesuffix(RANDOMISED).partition("-")
    try:
        if kind != "multiclass":
            raise ValueError(name)
        return Multiclass(float(share), randomised=name.endswith(RANDOMISED))
    except ValueError:
        raise BadParameter(f"bound must be one of {', '.join(CERTIFIERS)}, got {name!r}") from None


def least_votes(certifier: Certifier, alpha: float) -> int:
    """The least n with which anything can be certified: with fewer votes even unanimity abstains, whatever W is."""
    law, n, least = Gaussian(1.0), 1, weight_of(bytes(16))
    while certifier.certify(Votes({0: 1}, 1), Votes({0: n}, n), law, alpha=alpha, dim=1, weight=least).abstained:
        n += 1
    return n
