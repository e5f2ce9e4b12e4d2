"""The tensors of the Open Inference Protocol: images out of a request, and answers as what it calls outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np

from dsmooth.images.pixels import Pixels
from dsmooth.serve.answers import Answer
from dsmooth.serve.faces.base import bytes_of, typed
from dsmooth.serve.refusals import Refused
from dsmooth.serve.served import Served

__all__ = ["Tensor", "outputs_of", "pictures_of", "wanted"]

_MOST_IMAGES: Final = 16


def pictures_of(asked: Mapping[str, Any], binary: bytes, served: Served) -> Sequence[bytes | Pixels]:
    """The images of the one input; raises Refused."""
    inputs = typed(asked.get("inputs"), list, "inputs")
    if len(inputs) != 1 or typed(inputs[0], dict, "an input").get("name") != "image":
        raise Refused("bad_request", "expected one input, named image")
    tensor = inputs[0]
    shape = [typed(size, int, "a size of the shape") for size in typed(tensor.get("shape"), list, "shape")]
    if not shape or not 1 <= shape[0] <= _MOST_IMAGES:
        raise Refused("bad_request", f"expected a shape with 1 to {_MOST_IMAGES} images first, got {shape[:5]}")
    size = typed(tensor.get("parameters", {}), dict, "parameters of the input").get("binary_data_size")
    if size is not None and typed(size, int, "binary_data_size") != len(binary):
        raise Refused("bad_request", f"expected {len(binary)} bytes of binary data, got {size} announced")
    if size is None and binary:
        raise Refused("bad_request", "got bytes behind the JSON that no input names: set binary_data_size")
    if tensor.get("datatype") == "BYTES":
        if shape not in ([shape[0]], [shape[0], 1]):
            raise Refused("bad_request", f"expected BYTES of shape [{shape[0]}], got {shape[:5]}")
        files = _strings(binary) if size is not None else _texts(tensor.get("data"))
        if len(files) != shape[0]:
            raise Refused("bad_request", f"expected {shape[0]} image files, got {len(files)}")
        return files
    if tensor.get("datatype") != "UINT8":
        raise Refused("bad_request", "expected image as UINT8 pixels, or as BYTES of image files")
    if tuple(shape[1:]) != served.shape:
        raise Refused("bad_image", f"expected UINT8 of shape [-1, {str(list(served.shape))[1:-1]}], got {shape[:5]}")
    if size is not None:
        if size != int(np.prod(shape)):
            raise Refused("bad_request", f"expected {int(np.prod(shape))} bytes of pixels, got {size}")
        return list(np.frombuffer(binary, np.uint8).reshape(shape))
    return list(_numbers(tensor.get("data"), shape))


def _numbers(data: object, shape: Sequence[int]) -> Pixels:
    """The pixels of a JSON list, flat or nested as the shape is. Types first: numpy makes gigabytes of one text in it."""
    flat, count = typed(data, list, "data"), int(np.prod(shape))
    if flat and isinstance(flat[0], list):
        for size in shape[1:]:
            if any(not isinstance(part, list) or len(part) != size for part in flat):
                break
            flat = list(chain.from_iterable(flat))
    pixels = b""
    if len(flat) == count and set(map(type, flat)) == {int}:
        with suppress(OverflowError, ValueError):
            pixels = bytes(flat)
    if not pixels:
        raise Refused("bad_image", f"expected {count} whole numbers from 0 to 255 as data")
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def _texts(data: object) -> list[bytes]:
    """Image files in base64; a nested list of them is flat afterwards."""
    flat = typed(data, list, "data")
    flat = [item for part in flat for item in (part if isinstance(part, list) else [part])]
    return [bytes_of(item, "an image file") for item in flat[: _MOST_IMAGES + 1]]


def _strings(binary: bytes) -> list[bytes]:
    """BYTES elements: a length of four bytes, little-endian, before each."""
    found: list[bytes] = []
    at = 0
    while at < len(binary) and len(found) <= _MOST_IMAGES:
        end = at + 4 + int.from_bytes(binary[at : at + 4], "little")
        if at + 4 > len(binary) or end > len(binary):
            raise Refused(
                "bad_request", "expected BYTES as lengths of four bytes, each before its element; got too few"
            )
        found.append(binary[at + 4 : end])
        at = end
    return found


@dataclass
class Tensor:
    """One tensor of the answer."""

    name: str
    kind: str
    shape: list[int]
    values: Sequence[Any]
    binary: bool = False

    @property
    def data(self) -> bytes:
        """Its bytes behind the JSON; none where it stands in the JSON."""
        if not self.binary:
            return b""
        if self.kind == "BYTES":
            elements = [str(value).encode() for value in self.values]
            return b"".join(len(element).to_bytes(4, "little") + element for element in elements)
        return np.array(self.values, "<i8" if self.kind == "INT64" else "<f8").tobytes()

    @property
    def told(self) -> dict[str, Any]:
        """What the JSON says of it."""
        head = {"name": self.name, "datatype": self.kind, "shape": self.shape}
        return (
            {**head, "parameters": {"binary_data_size": len(self.data)}}
            if self.binary
            else {**head, "data": self.values}
        )


def outputs_of(answers: Sequence[Answer], served: Served) -> list[Tensor]:
    """label (empty: abstains), label_index (-1: abstains, or no number), radius (0: abstains), votes of each class where
    classes have names, and the certificate file.
    """
    many = len(answers)
    indices = [answer.answer if isinstance(answer.answer, int) else -1 for answer in answers]
    outputs = [
        Tensor("label", "BYTES", [many], [answer.name or "" for answer in answers]),
        Tensor("label_index", "INT64", [many], indices),
        Tensor("radius", "FP64", [many], [float(answer.radius) for answer in answers]),
        Tensor("certificate", "BYTES", [many], [answer.document.decode() for answer in answers]),
    ]
    if served.classes is not None:
        votes = [answer.votes.of(label) for answer in answers for label in range(served.classes)]
        outputs.insert(3, Tensor("votes", "INT64", [many, served.classes], votes))
    return outputs


def wanted(asked: Mapping[str, Any], outputs: list[Tensor], binary: bool) -> list[Tensor]:
    """The outputs that were asked for (all, where none are named), each as it was asked for."""
    for output in outputs:
        output.binary = binary
    if "outputs" not in asked:
        return outputs
    known, chosen = {output.name: output for output in outputs}, []
    for row in typed(asked["outputs"], list, "outputs"):
        name = typed(typed(row, dict, "an output").get("name"), str, "the name of an output")
        if name not in known:
            raise Refused("bad_request", f"expected outputs among {', '.join(known)}, got {name[:40]!r}")
        told = typed(row.get("parameters", {}), dict, "parameters of an output")
        known[name].binary = told.get("binary_data", binary) is True
        chosen.append(known.pop(name))
    return chosen
