"""The format of certificate files as a JSON Schema, derived from the fields of Record and Question.

Numbers that are not whole are decimal strings there, so that no reader rounds them: which ones follows from the fields'
types.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from dsmooth.errors import BadRun
from dsmooth.records.keys import SOURCES
from dsmooth.records.question import Question
from dsmooth.records.schema import OPTIONAL, SCHEMA, Record
from dsmooth.records.sidecar import FORMAT
from dsmooth.theory.laws.base import Law
from dsmooth.theory.modes import MODES, Mode
from dsmooth.theory.threats.covering import MOST_CENTRES

__all__ = ["SPACE", "certificate_schema", "check_certificate", "decimal", "spelled", "unspelled"]

SPACE: Final = "pixels in [0, 1], in steps of 1/255, height x width x channels"

_VERSION_1 = Path(__file__).parent / "certificate-1.schema.json"
_MOST = 10**12


def certificate_schema(version: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of certificate files of this version."""
    answer = {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}
    claim = {
        "label": answer,
        "name": {
            "type": ["string", "null"],
            "maxLength": 1000,
            "description": "The name of the label; not covered by any digest.",
        },
        "norm": _ref("norm"),
        "radius": _ref("decimal"),
        "alpha": _ref("decimal"),
        "space": {"const": SPACE},
        "chosen_afterwards": {
            "type": "boolean",
            "description": "Whether a setting that affects the claim was chosen after the votes were known.",
        },
    }
    against = {"type": "string", "description": "A family of images for all of which the label is claimed too."}
    whole = {
        "schema": {"const": version},
        "claim": {**_object(claim), "properties": {**claim, "against": against}},
        "record": _record(),
        "votes": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "The votes that record.votes describes.",
        },
        "key": {**_ref("sha256"), "description": "The master key; its SHA-256 is record.key.commitment."},
    }
    witness = {
        "commitment": {"type": "string", "description": "JSON; record.key.witness is its SHA-256."},
        "token": {"type": "string", "contentEncoding": "base64", "description": "An RFC 3161 time stamp of it."},
        "round": {"type": "string", "description": "JSON: the beacon's round, whose randomness entered the key."},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A dsmooth certificate",
        "description": (
            "With probability at least 1 - alpha over the noise, the smoothed classifier answers `claim.label` at every "
            "image closer than `claim.radius` to the image that `record.image` names, in the l_`claim.norm` distance. "
            "A label of null is an abstention."
        ),
        **_object(whole),
        "properties": {**whole, "witness": _object(witness)},
        "$defs": {
            "decimal": {"type": "string", "pattern": r"^[0-9]{1,20}(\.[0-9]{1,400})?$"},
            "norm": {"type": "string", "pattern": r"^(inf|[0-9]{1,20}(\.[0-9]{1,400})?)$"},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "count": {"type": "integer", "minimum": 0, "maximum": _MOST},
            "given": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "votes": _object(
                {
                    "counts": {
                        "type": "array",
                        "items": {
                            "type": "array",
                            "prefixItems": [_ref("given"), _ref("count")],
                            "minItems": 2,
                            "maxItems": 2,
                        },
                    },
                    "missing": _ref("count"),
                    "trials": _ref("count"),
                }
            ),
        },
    }


def check_certificate(value: Any, *, old: bool) -> None:
    """Raises BadRun, with the place, where a JSON value is no certificate file of its version."""
    import jsonschema  # 0.1 s, needed only where a certificate is read

    error = jsonschema.exceptions.best_match(_validator(None if old else value["schema"]).iter_errors(value))
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "the certificate"
        raise BadRun(f"{place}: {error.message[:300]}")


def spelled(value: Any) -> Any:
    """The same with every float as the shortest decimal that is this float64 and no other."""
    if isinstance(value, dict):
        return {name: spelled(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [spelled(part) for part in value]
    return decimal(value) if isinstance(value, float) else value


def decimal(value: float | str) -> str:
    """The shortest decimal that is this float64; "inf" for infinity."""
    return value if isinstance(value, str) else "inf" if value == float("inf") else format(Decimal(repr(value)), "f")


def unspelled(record: dict[str, Any]) -> dict[str, Any]:
    """A record of a checked certificate file with its decimals as floats again."""
    told = {**record, "seconds": float(record["seconds"])}
    for name in ("asked", "evaluated"):
        if told[name] is not None:
            told[name] = _question(told[name])
    return told


def _question(value: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(Question)
    told: dict[str, Any] = {
        name: float(part) if hints[name] is float and part != "inf" else part for name, part in value.items()
    }
    told["law"] = _parameters(told["law"])
    mode = {name: _number(part) if name == "lambda" else part for name, part in told["mode"].items()}
    told["mode"] = {name: [float(r) for r in part] if name == "radii" else part for name, part in mode.items()}
    if "against" in mode:
        told["mode"]["against"] = _parameters(mode["against"])
    return told


def _parameters(named: dict[str, Any]) -> dict[str, Any]:
    """Of a law or a family of transformations."""
    return {name: part if name in ("name", "label") else _number(part) for name, part in named.items()}


def _number(part: Any) -> Any:
    """A parameter of a law: whole numbers are numbers in the file, others decimal strings."""
    return float(part) if isinstance(part, str) else part


@cache
def _validator(version: str | None) -> Any:
    import jsonschema

    schema = json.loads(_VERSION_1.read_text(encoding="utf-8")) if version is None else certificate_schema(version)
    return jsonschema.Draft202012Validator(schema)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


def _record() -> dict[str, Any]:
    described = _object(_fields_of(Record))
    return {**described, "required": [name for name in described["properties"] if name not in OPTIONAL]}


def _fields_of(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    described = {}
    for field in fields(kind):
        special = _SPECIAL.get((kind, field.name))
        schema = special if special is not None else _of_type(hints[field.name])
        help = field.metadata.get("help")
        described[field.name] = schema if help is None else {**schema, "description": help}
    return described


def _of_type(hint: Any) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of_type(part) for part in arguments]}
    if origin is tuple:
        lengths = {} if arguments[-1] is Ellipsis else {"minItems": len(arguments), "maxItems": len(arguments)}
        return {"type": "array", "items": _of_type(arguments[0]), **lengths}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_type(arguments[1])}
    return _PLAIN[hint]()


def _named() -> dict[str, Any]:
    """A law or a family of transformations: its name and parameters."""
    return {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "label": {"type": "string"}},
        "additionalProperties": {"anyOf": [_ref("decimal"), {"type": "integer"}, {"type": "boolean"}]},
    }


_PLAIN: Final[dict[Any, Callable[[], dict[str, Any]]]] = {
    int: lambda: {"type": "integer", "minimum": -_MOST, "maximum": _MOST},
    bool: lambda: {"type": "boolean"},
    str: lambda: {"type": "string"},
    float: lambda: _ref("norm"),
    type(None): lambda: {"type": "null"},
    Any: dict,
    Question: lambda: _object(_fields_of(Question)),
    Law: lambda: _named(),
    Mode: lambda: {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {"enum": list(MODES)},
            "radii": {"type": "array", "items": _ref("decimal"), "minItems": 1},
            "lambda": _ref("decimal"),
            "against": _named(),
            "rivals": {"const": True, "description": "The strongest rival's probability is bounded too."},
        },
    },
}

_SPECIAL: Final[dict[tuple[type, str], dict[str, Any]]] = {
    (Record, "image"): _ref("sha256"),
    (Record, "radius"): _ref("decimal"),
    (Record, "selection"): _ref("votes"),
    (Record, "estimation"): _ref("votes"),
    (Record, "reached"): {"anyOf": [_ref("votes"), {"type": "null"}]},
    (Record, "votes"): _object(
        {
            "file": {"type": "string"},
            "format": {"const": FORMAT},
            "labels": {"type": "array", "items": _ref("given"), "maxItems": (1 << 16) - 1},
            "sha256": _ref("sha256"),
        }
    ),
    (Record, "key"): {
        "type": "object",
        "required": ["commitment", "source"],
        "properties": {
            "commitment": _ref("sha256"),
            "witness": {
                **_ref("sha256"),
                "description": "Digest of the commitment that was time-stamped before the noise could be known.",
            },
            "source": {"enum": list(SOURCES), "description": "seed: a user's number, which others can guess."},
        },
        "additionalProperties": {"type": "string", "pattern": "^([0-9a-f]{32})?$"},
    },
    (Record, "cover"): _object(
        {
            "rho": {
                "type": "string",
                "description": "Radius of the cover, in l2; 0.0 where no centre was asked about.",
            },
            "by": {"type": "string", "description": "The software that makes the images of the family."},
            "centres": {
                "type": "array",
                "maxItems": MOST_CENTRES,
                "items": _object(
                    {
                        "image": _ref("sha256"),
                        "estimation": {"anyOf": [_ref("votes"), {"type": "null"}]},
                        "reached": {"anyOf": [_ref("votes"), {"type": "null"}]},
                    }
                ),
            },
        }
    ),
    (Record, "service"): {
        "type": ["string", "null"],
        "description": "JSON: how a service was asked, how its answers became votes, and its version.",
    },
    (Record, "previous"): _ref("sha256"),
    (Record, "digest"): _ref("sha256"),
    (Record, "schema"): {"const": SCHEMA},
}
"""What the types of fields leave open."""
