"""The noise distributions (laws) by name, and a law from its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dsmooth.errors import BadParameter
from dsmooth.registry import Registry
from dsmooth.theory.laws.base import EnumeratedLaw, Law, RandomLaw

__all__ = ["LAWS", "check_law", "introduce", "law_from_json", "law_named"]

LAWS: Final = Registry(
    "noise",
    {
        "gaussian": "dsmooth.theory.laws.gaussian:Gaussian",
        "uniform": "dsmooth.theory.laws.uniform:Uniform",
        "lighting": "dsmooth.theory.laws.lighting:Lighting",
        "splitting": "dsmooth.theory.laws.splitting:Splitting",
    },
)

_INTRODUCED: Final[dict[str, type[Law]]] = {}
"""Laws that the user introduced in this process, by name: records that name them can be read."""


def check_law(law: object) -> Law:
    """The law itself; raises BadParameter unless it is a RandomLaw or an EnumeratedLaw with a name of its own."""
    if not isinstance(law, RandomLaw | EnumeratedLaw):
        raise BadParameter(
            "noise must be a RandomLaw or an EnumeratedLaw (dsmooth.theory.laws.base), "
            f"got {type(law).__module__}.{type(law).__qualname__}"
        )
    if law.name in LAWS and LAWS.load(law.name) is not type(law):
        raise BadParameter(f"noise {type(law).__qualname__} has the name of another law, {law.name!r}: choose its own")
    return law


def introduce(law: object) -> Law:
    """The law itself; afterwards this process can read records that name it."""
    checked = check_law(law)
    if checked.name not in LAWS:
        _INTRODUCED[checked.name] = type(checked)
    return checked


def law_named(name: str, parameters: Mapping[str, Any]) -> Law:
    """The law of that name with these parameters; raises BadParameter for an unknown name or other parameters."""
    kind = _INTRODUCED.get(name) or LAWS.load(name)
    law: Law = kind.of(parameters)
    return law


def law_from_json(value: Mapping[str, Any]) -> Law:
    """The law that `to_json` described; raises BadParameter for anything else.

    A law that is not part of dsmooth must have been introduced by the user: no code is loaded because a record names it.
    """
    parameters = dict(value)
    name = parameters.pop("name", None)
    if not isinstance(name, str) or (name not in LAWS and name not in _INTRODUCED):
        raise BadParameter(f"noise must be one of {LAWS}, or your own with --noise import:MODULE:FACTORY, got {name!r}")
    law = law_named(name, parameters)
    if law.to_json() != value:
        raise BadParameter(f"expected noise as {law.to_json()}, got {dict(value)}")
    return law
