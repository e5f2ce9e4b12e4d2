"""Weights and models from strangers: code in pickles, bombs, lies about sizes, and networks that do not fit."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from dsmooth import BadModel, SmoothedClassifier
from dsmooth.backends.eager import Eager
from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.denoisers.ffdnet import FFDNet
from support import Linear, refused

IMAGES = ("certify", "images", "-o", "run", "--n", "20")


class Command:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def state():
    torch.manual_seed(0)
    return CifarResNet(20).state_dict()


def torch_file(folder, value, name="w.pt", **options):
    torch.save(value, folder / name, **options)
    return f"cifar:resnet20@{name}"


def raw(folder, data, name="w.pt"):
    (folder / name).write_bytes(data)
    return f"cifar:resnet20@{name}"


REFUSED = "without pickled code"


def pickle_that_runs_code(folder):
    return torch_file(folder, {"x": Command()}), REFUSED


def plain_pickle_that_runs_code(folder):
    return raw(folder, pickle.dumps(Command())), REFUSED


def old_format_that_runs_code(folder):
    return torch_file(folder, {"x": Command()}, _use_new_zipfile_serialization=False), REFUSED


def pickle_named_safetensors(folder):
    return raw(folder, pickle.dumps(Command()), "w.safetensors"), "expected safetensors"


def whole_module(folder):
    return torch_file(folder, CifarResNet(20)), REFUSED


def a_list(folder):
    return torch_file(folder, [torch.zeros(1)]), "expected a mapping from names to tensors"


def numbers_in_place_of_tensors(folder):
    return torch_file(folder, {"conv1.weight": 5}), "expected a mapping from names to tensors"


def nothing(folder):
    return raw(folder, b""), "expected safetensors, or torch weights"


def text(folder):
    return raw(folder, b"weights"), "expected safetensors, or torch weights"


def cut(folder):
    torch_file(folder, state())
    return raw(folder, (folder / "w.pt").read_bytes()[:3000]), "expected safetensors, or torch weights"


def zip_of_something_else(folder):
    with zipfile.ZipFile(folder / "w.pt", "w") as archive:
        archive.writestr("a.txt", "x")
    return "cifar:resnet20@w.pt", "expected safetensors, or torch weights"


def compressed_bomb(folder):
    torch_file(folder, {"x": torch.zeros(50_000_000)}, "big.pt")
    with (
        zipfile.ZipFile(folder / "big.pt") as source,
        zipfile.ZipFile(folder / "w.pt", "w", zipfile.ZIP_DEFLATED) as out,
    ):
        for entry in source.infolist():
            out.writestr(entry.filename, source.read(entry))
    (folder / "big.pt").unlink()
    return "cifar:resnet20@w.pt", "compressed"


def tensor_larger_than_its_storage(folder):
    return torch_file(folder, {"x": torch.zeros(1, dtype=torch.float16).expand(10**11)}), "stored whole"


def a_folder(folder):
    (folder / "w.pt").mkdir()
    return "cifar:resnet20@w.pt", "no such checkpoint"


def a_fifo(folder):
    os.mkfifo(folder / "w.pt")
    return "cifar:resnet20@w.pt", "no such checkpoint"


def a_device(folder):
    return "cifar:resnet20@/dev/zero", "no such checkpoint"


def missing_keys(folder):
    whole = state()
    del whole["linear.weight"]
    return torch_file(folder, whole), "the weights do not fit"


def keys_too_many(folder):
    return torch_file(folder, {**state(), "backdoor": torch.zeros(1)}), "the weights do not fit"


def another_depth(folder):
    return torch_file(folder, CifarResNet(32).state_dict()), "the weights do not fit"


def another_number_of_classes(folder):
    return torch_file(folder, CifarResNet(20, 7).state_dict()), "the weights do not fit"


def another_shape(folder):
    return torch_file(folder, {**state(), "conv1.weight": torch.zeros(16, 3, 5, 5)}), "the weights do not fit"


def nan_weights(folder):
    whole = state()
    whole["conv1.weight"][0] = torch.nan
    return torch_file(folder, whole), "expected finite weights, got NaN or infinity in conv1.weight"


def infinite_weights(folder):
    whole = state()
    whole["bn1.running_var"][0] = torch.inf
    return torch_file(folder, whole), "expected finite weights"


def whole_numbers(folder):
    return torch_file(folder, {key: value.to(torch.int64) for key, value in state().items()}), "expected"


def complex_weights(folder):
    whole = state()
    whole["conv1.weight"] = whole["conv1.weight"].to(torch.complex64)
    return torch_file(folder, whole), "expected"


def sparse_weights(folder):
    return torch_file(folder, {"conv1.weight": torch.zeros(3, 3).to_sparse()}), "expected"


def meta_tensors(folder):
    return torch_file(folder, {"x": torch.zeros(3, device="meta")}), "expected"


CHECKPOINTS = [
    pickle_that_runs_code, plain_pickle_that_runs_code, old_format_that_runs_code, pickle_named_safetensors, whole_module,
    a_list, numbers_in_place_of_tensors, nothing, text, cut, zip_of_something_else, compressed_bomb,
    tensor_larger_than_its_storage, a_folder, a_fifo, a_device, missing_keys, keys_too_many, another_depth,
    another_number_of_classes, another_shape, nan_weights, infinite_weights, whole_numbers, complex_weights, sparse_weights,
    meta_tensors,
]  # fmt: skip


@pytest.mark.parametrize("make", CHECKPOINTS, ids=lambda make: make.__name__)
def test_checkpoints(folder, make):
    classifier, says = make(folder)
    refused(folder, *IMAGES, "-c", classifier, "-d", "none", says=says)
    assert not (folder / "executed").exists()


def header(entries, data=b""):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


CONFIG = {"depth": 3, "width": 4, "channels": 3}
STORY = {"schema": 1, "architecture": "ffdnet", "config": CONFIG, "sigma_range": [0.1, 0.6], "data": "", "metrics": {}}


def story(**changes):
    arrays = {key: value.clone() for key, value in FFDNet(3, 4).state_dict().items()}
    return save(arrays, {"dsmooth": json.dumps({**STORY, **changes})})


def nan_denoiser():
    arrays = {key: value.clone() for key, value in FFDNet(3, 4).state_dict().items()}
    arrays["conv0.bias"][0] = torch.nan
    return save(arrays, {})


READ = "expected a safetensors file, cannot read it"
SAFETENSORS = {
    "nothing": (b"", READ),
    "zeros": (b"\0" * 1000, READ),
    "a header longer than the file": (struct.pack("<Q", 2**40) + b"{}", READ),
    "a header of all 64 bits": (b"\xff" * 8 + b"{}", READ),
    "a header that is no json": (header(b"{'x': 1}"), READ),
    "a header that is a list": (header([1, 2]), READ),
    "deep json": (header(b"[" * 5000), READ),
    "an array beyond the file": (
        header({"x": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}, b"\0" * 8),
        READ,
    ),
    "a shape that lies": (header({"x": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 8]}}, b"\0" * 8), READ),
    "a shape that overflows": (
        header({"x": {"dtype": "F32", "shape": [2**63, 4], "data_offsets": [0, 8]}}, b"\0" * 8),
        READ,
    ),
    "a negative shape": (header({"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, b"\0" * 8), READ),
    "overlapping arrays": (
        header({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in ("x", "y")}, b"\0" * 8),
        READ,
    ),
    "a type that is none": (header({"x": {"dtype": "OBJ", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8), READ),
    "a name twice": (header(b'{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"x":{}}'), READ),
    "no arrays": (header({}), "has no dsmooth description"),
    "arrays of something else": (save({"x": torch.zeros(2)}), "has no dsmooth description"),
    "whole numbers": (save({"x": torch.zeros(2, dtype=torch.int64)}), "all finite numbers in floating point"),
    "nan weights": (nan_denoiser(), "all finite numbers in floating point"),
    "an architecture that is none": (story(architecture="os.system"), "architecture must be one of"),
    "another architecture": (story(architecture="dncnn"), "do not fit"),
    "a wide network in a short file": (story(config={"depth": 3, "width": 4000, "channels": 3}), "do not fit"),
    "a network of all memory": (story(config={"depth": 3, "width": 10**9, "channels": 3}), "cannot be built"),
    "a deep network in a short file": (story(config={"depth": 4000, "width": 4, "channels": 3}), "do not fit"),
    "a network of no depth": (story(config={"depth": -1, "width": 4, "channels": 3}), "cannot be built"),
    "text for a depth": (story(config={"depth": "3", "width": 4, "channels": 3}), "cannot be built"),
    "an option that is none": (story(config={"command": "rm"}), "cannot be built"),
    "a config that is none": (story(config=5), "damaged"),
    "another schema": (story(schema=2), "schema 1, got 2"),
    "a range that is none": (story(sigma_range=[1]), "damaged"),
}


@pytest.mark.parametrize(("data", "says"), SAFETENSORS.values(), ids=SAFETENSORS.keys())
def test_denoisers(folder, data, says):
    (folder / "d.safetensors").write_bytes(data)
    refused(folder, *IMAGES, "-c", "import:support:Linear", "-d", "d.safetensors", says=says)


@pytest.mark.parametrize("name", [name for name, (_, says) in SAFETENSORS.items() if says == READ])
def test_the_same_lies_as_classifiers(folder, name):
    (folder / "w.safetensors").write_bytes(SAFETENSORS[name][0])
    refused(folder, *IMAGES, "-c", "cifar:resnet20@w.safetensors", "-d", "none", says="expected safetensors")


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, value):
    """One field of a protocol buffer: whole numbers and bytes are all that a small ONNX file needs."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def value_info(name, shape):
    dims = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def onnx(nodes, inputs, outputs, weights=b"", opset=17):
    graph = b"".join(field(1, node) for node in nodes) + field(2, b"g") + weights
    graph += b"".join(field(11, one) for one in inputs) + b"".join(field(12, one) for one in outputs)
    return field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, opset))


def node(op, inputs, outputs):
    return b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs) + field(4, op)


IMAGE = value_info(b"x", [b"n", 3, b"h", b"w"])
OUT = value_info(b"y", [b"n", 5])


def outside(place):
    location = field(1, b"location") + field(2, place)
    tensor = field(1, 3) + field(1, 5) + field(2, 1) + field(8, b"w") + field(13, location) + field(14, 1)
    nodes = [
        node(b"GlobalAveragePool", [b"x"], [b"p"]),
        node(b"Flatten", [b"p"], [b"f"]),
        node(b"MatMul", [b"f", b"w"], [b"y"]),
    ]
    return onnx(nodes, [IMAGE], [OUT], field(5, tensor))


FLATTEN = [node(b"GlobalAveragePool", [b"x"], [b"p"]), node(b"Flatten", [b"p"], [b"y"])]
SOUND = onnx(FLATTEN, [IMAGE], [value_info(b"y", [b"n", 3])])
ONNX = {
    "nothing": (b"", "expected"),
    "text": (b"a network", "expected an ONNX classifier in one file"),
    "zeros": (b"\0" * 100, "expected an ONNX classifier in one file"),
    "cut": (SOUND[:-20], "expected an ONNX classifier in one file"),
    "a pickle": (pickle.dumps(Command()), "expected an ONNX classifier in one file"),
    "weights outside": (outside(b"weights.bin"), "expected an ONNX classifier in one file"),
    "weights far outside": (outside(b"../../../etc/passwd"), "expected an ONNX classifier in one file"),
    "weights at an absolute place": (outside(b"/etc/passwd"), "expected an ONNX classifier in one file"),
    "an operator that is none": (
        onnx([node(b"System", [b"x"], [b"y"])], [IMAGE], [OUT]),
        "expected an ONNX classifier in one file",
    ),
    "an input of two axes": (onnx(FLATTEN, [value_info(b"x", [b"n", 3])], [OUT]), "expected"),
    "two inputs": (
        onnx([node(b"Add", [b"x", b"z"], [b"y"])], [IMAGE, value_info(b"z", [b"n", 3, b"h", b"w"])], [OUT]),
        "expected one input",
    ),
    "no input": (onnx([], [], [OUT]), "expected"),
}


@pytest.mark.parametrize(("data", "says"), ONNX.values(), ids=ONNX.keys())
def test_onnx(folder, data, says):
    (folder / "weights.bin").write_bytes(b"\0" * 60)
    (folder / "m.onnx").write_bytes(data)
    refused(folder, *IMAGES, "-c", "onnx:m.onnx", "-d", "none", says=says)
    assert not (folder / "executed").exists()


def test_a_sound_onnx_file_of_the_same_make_is_read(folder):
    from dsmooth import load_classifier

    (folder / "m.onnx").write_bytes(SOUND)
    assert load_classifier("onnx:m.onnx").prepared(Eager("fp32", 1))(torch.rand(2, 3, 8, 8))


LATE = {
    "another number of classes than names": (
        "from dsmooth import TorchClassifier\nfrom support import Constant\n"
        "def model():\n    return TorchClassifier(Constant(), class_names=['a', 'b'])\n",
        "2 classes, got 10 logits",
    ),
    "no logits": ("from torch import nn\ndef model():\n    return nn.Identity()\n", "(B, K) logits"),
    "another size": (
        "from torch import nn\ndef model():\n    return nn.Linear(7, 2)\n",
        "do not accept images of shape",
    ),
    "a wrong normalisation": (
        "from dsmooth import TorchClassifier\nfrom support import Linear\n"
        "def model():\n    return TorchClassifier(Linear(), mean=[0.5], std=[0.5])\n",
        "expected images of 1 channels",
    ),
    "a zero in std": (
        "from dsmooth import TorchClassifier\nfrom support import Linear\n"
        "def model():\n    return TorchClassifier(Linear(), mean=[0.5] * 3, std=[0.0] * 3)\n",
        "expected std above 0",
    ),
    "an error of its own": ("def model():\n    raise RuntimeError('two\\nlines')\n", "failed: RuntimeError: two lines"),
    "a syntax error": ("def model(:\n", "cannot be imported"),
    "an error while importing": ("1 / 0\n", "cannot be imported"),
}


@pytest.mark.parametrize(("code", "says"), LATE.values(), ids=LATE.keys())
def test_factories(folder, code, says, request):
    from support import dsmooth

    name = f"factory_{abs(hash(request.node.name))}"
    (folder / f"{name}.py").write_text(code)
    done = dsmooth(*IMAGES, "-c", f"import:{name}:model", "-d", "none")
    assert done.code == 2, done.err
    lines = [line for line in done.err.splitlines() if line.startswith("dsmooth: ")]
    assert says in lines[-1]
    assert "Traceback" not in done.err
    # a network that does not fit shows at its first batch; the folder holds no record, and --resume goes on
    assert not (folder / "run" / "records.jsonl").exists() or not (folder / "run" / "records.jsonl").read_bytes()


def test_a_file_with_a_training_checkpoint_around_it_is_read(folder):
    from dsmooth import load_classifier

    torch.save({"state_dict": state(), "epoch": 3}, folder / "w.pt")
    save_file(state(), folder / "w.safetensors")
    buffer = io.BytesIO()
    torch.save(state(), buffer, _use_new_zipfile_serialization=False)
    (folder / "old.pt").write_bytes(buffer.getvalue())
    digests = {load_classifier(f"cifar:resnet20@{name}").digest() for name in ("w.pt", "w.safetensors", "old.pt")}
    assert len(digests) == 1


@pytest.mark.parametrize("part", ["classifier", "denoiser"])
@pytest.mark.parametrize("code", [None, 0, 3, "done"])
def test_a_network_cannot_end_the_program(part, code):
    """A program that ended with exit code 0 and no run would look like one that was done."""

    class Ends(Linear):
        def forward(self, x, *sigma):
            sys.exit(code)

    parts = {"classifier": Linear(), "denoiser": None, part: Ends()}
    with SmoothedClassifier(parts["classifier"], parts["denoiser"], 0.25) as smoothed:
        for _ in range(2):  # the first image also settles the backend
            with pytest.raises(BadModel, match=r"sys\.exit") as refusal:
                smoothed.certify(np.zeros((8, 8, 3), np.uint8), n=20)
            assert len(str(refusal.value).splitlines()) == 1


def test_one_score_is_refused_on_the_command_line(folder):
    source = "from torch import nn\ndef model():\n    return nn.Sequential(nn.Flatten(), nn.Linear(192, 1))\n"
    (folder / "one_score.py").write_text(source)
    refused(folder, *IMAGES, "-c", "import:one_score:model", "-d", "none", says="every answer would be class 0")


def test_an_exit_in_the_network_is_no_success(folder):
    source = "import sys, torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n        sys.exit(0)\n"
    (folder / "ends.py").write_text(source)
    refused(folder, *IMAGES, "-c", "import:ends:M", "-d", "none", says="sys.exit(0)")
