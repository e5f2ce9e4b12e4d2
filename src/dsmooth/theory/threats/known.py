"""The families of transformations by name, and a family from its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from dsmooth.errors import BadParameter
from dsmooth.registry import Registry
from dsmooth.theory.threats.base import Threat

__all__ = ["THREATS", "threat_from_json", "threat_from_text"]

THREATS: Final = Registry(
    "what a certificate is against",
    {
        "contrast": "dsmooth.theory.threats.contrast:Contrast",
        "gamma": "dsmooth.theory.threats.gamma:Gamma",
        "shift": "dsmooth.theory.threats.shift:Shift",
        "rotation": "dsmooth.theory.threats.rotation:Rotation",
        "blur": "dsmooth.theory.threats.blur:Blur",
        "jpeg": "dsmooth.theory.threats.jpeg:Jpeg",
        "listed": "dsmooth.theory.threats.listed:Listed",
    },
)


def threat_from_text(text: str) -> Threat:
    """The family in the notation of the command line, as "contrast 0.8 1.2"; raises BadParameter for anything else."""
    name, *words = text.split() or [""]
    kind: type[Threat] = THREATS.load(name)
    if kind.name == "listed":
        raise BadParameter("listed is for Python: a function lists the images (dsmooth.theory.threats.listed.Listed)")
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # families are dataclasses
    if len(words) != len(names):
        raise BadParameter(f"expected {kind.usage}, got {text!r:.80}")
    try:
        numbers = [int(word) if kind.whole else float(word) for word in words]
    except ValueError:
        numbers_of = "whole numbers" if kind.whole else "numbers"
        raise BadParameter(f"expected {kind.usage} with {numbers_of}, got {text!r:.80}") from None
    return kind.of(dict(zip(names, numbers, strict=True)))


def threat_from_json(value: object) -> Threat:
    """The family that `to_json` described; raises BadParameter for anything else."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise BadParameter(f"expected a family of transformations, one of {THREATS}, got {value!r:.80}")
    parameters: dict[str, Any] = dict(value)
    kind: type[Threat] = THREATS.load(parameters.pop("name"))
    threat = kind.of(parameters)
    if threat.to_json() != value:
        raise BadParameter(f"expected {threat.to_json()}, got {dict(value)}")
    return threat
