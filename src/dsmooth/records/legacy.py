"""Records and runs of schemas 1 and 2, converted to schema 3: old votes can be reported and recertified.

Their noise was addressed by image, law and sigma alone, so alpha, n, norm, mode and bound could have been chosen afterwards:
`dsmooth verify` never calls them verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dsmooth.errors import BadRun, Disproved
from dsmooth.records.digests import digest_json

__all__ = ["NOT_RECORDED", "upgraded", "upgraded_header"]

NOT_RECORDED: Final = "not recorded"
"""The preparation of old records: their noise does not follow from all that was asked."""

_LAWS: Final = {"gaussian/255": "gaussian"}
_RULES: Final = ("curve", "decision")  # stood in the place of the bound that they do not use
_KEPT: Final = (
    "index", "name", "image", "shape", "decoding", "label", "answer", "radius", "selection", "estimation", "votes", "key",
    "batch", "versions", "seconds", "nondeterministic", "service", "previous", "digest", "schema",
)  # fmt: skip


def upgraded(value: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record of schema 3; raises Disproved where the digest is not that of the content."""
    if digest_json({**value, "digest": ""}) != value["digest"]:
        raise Disproved("expected a record with the digest of its content, got another digest")
    batch = value["batch"]
    return {
        **{name: value[name] for name in _KEPT if name != "service"},
        "asked": _question(value, batch_size=batch[0], batch_area=batch[0] * batch[2] * batch[3]),
        "evaluated": None,
        "reached": value.get("reached"),
        "drawn": value.get("drawn", value["n0"] + value["n"]),
        "attempt": value.get("attempt", 1),
        "service": value.get("service"),
    }


def upgraded_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json of schema 3 says; its records may have been made in batches of another shape than the header says."""
    try:
        parameters = header["parameters"]
        question = _question(parameters, batch_size=parameters["batch"], batch_area=parameters.get("pixels", 1))
        rest = {name: value for name, value in header.items() if name != "parameters"}
        return {**rest, "question": question, "evaluated": None, "data": parameters["data"]}
    except (KeyError, TypeError) as error:
        raise BadRun(f"expected the parameters of a run of schema {header.get('schema')}, lacks {error}") from error


def _question(value: Mapping[str, Any], *, batch_size: int | None, batch_area: int) -> dict[str, Any]:
    if value["law"] not in _LAWS:
        raise BadRun(f"expected noise of the law {', '.join(_LAWS)}, got {value['law']!r}")
    bound = value["certifier"]
    return {
        "law": {"name": _LAWS[value["law"]], "sigma": value["sigma"]},
        "classifier": value["classifier"],
        "denoiser": value["denoiser"],
        "preparation": NOT_RECORDED,
        "n0": value["n0"],
        "n": value["n"],
        "alpha": value["alpha"],
        "norm": value["norm"],
        "mode": value.get("mode", {"name": "fixed"}),
        "bound": "multiclass" if bound in _RULES else bound,
        "dtype": value["dtype"],
        "backend": value["backend"],
        "batch_size": batch_size,
        "batch_area": batch_area,
        "generator": value["generator"],
    }
