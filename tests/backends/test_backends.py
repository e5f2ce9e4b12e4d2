"""One table for every backend: it computes the module's function, in its precision, and leaves the module alone."""

import contextlib
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dsmooth
from dsmooth.backends import choice
from dsmooth.backends.base import CannotRun, difference
from dsmooth.backends.choice import BACKENDS, backend_named, candidates, fastest
from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.errors import BadModel, BadParameter, DsmoothError
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.smoothing.sources.base import Rows
from support import Constant, environment

HAS_BF16 = choice.has_bf16  # the real one: in tests it answers no
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
TABLE = [
    pytest.param("eager", "fp32", 1e-5, id="eager fp32"),
    pytest.param("eager", "bf16", 0.05, id="eager bf16"),
    pytest.param("openvino", "fp32", 1e-3, id="openvino fp32"),
    pytest.param("openvino", "bf16", 0.05, id="openvino bf16"),
    pytest.param("cuda", "fp32", 1e-5, id="cuda fp32", marks=GPU),
    pytest.param("cuda", "tf32", 5e-3, id="cuda tf32", marks=GPU),
    pytest.param("cuda", "bf16", 0.05, id="cuda bf16", marks=GPU),
]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return CifarResNet(20).eval()


@pytest.mark.parametrize(("name", "dtype", "tolerance"), TABLE)
def test_it_computes_the_function_of_the_module(name, dtype, tolerance, network):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    backend = backend_named(name, dtype, 2)
    assert (backend.name, backend.dtype, backend.workers) == (name, dtype, 2)
    run = backend.ready(network)
    with torch.inference_mode():
        for rows in (4, 4, 3):  # another batch shape is compiled anew
            x = torch.rand(rows, 3, 32, 32)
            answer = run(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2))
            assert answer.device.type == backend.device.type
            assert difference(answer, network(x)) < tolerance
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(("name", "dtype", "tolerance"), TABLE)
def test_threads_do_not_meet(name, dtype, tolerance, network):
    backend = backend_named(name, dtype, 3)
    pipeline = Pipeline(dsmooth.TorchClassifier(network), None, 0.25, backend)
    rng = np.random.default_rng(0)
    batches = [Rows(rng.integers(0, 256, (6, 32, 32, 3)).astype(np.int16)) for _ in range(9)]
    expected = [pipeline.labels(batch) for batch in batches]
    found = {}

    def ask(i):
        found[i] = pipeline.labels(batches[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(9)] == expected


def test_names():
    assert fastest("bf16") in BACKENDS
    with pytest.raises(BadParameter, match="backend must be one of auto, eager, openvino, cuda, got 'tpu'"):
        backend_named("tpu", "fp32")
    for name, dtype in (("eager", "tf32"), ("openvino", "fp16")):
        with pytest.raises(BadParameter, match=f"dtype must be one of .* with backend {name}"):
            backend_named(name, dtype)
    if not torch.cuda.is_available():
        with pytest.raises(BadParameter, match="needs an NVIDIA GPU"):
            backend_named("cuda", "bf16")


@pytest.mark.parametrize(
    ("names", "bf16", "expected"),
    [
        (("auto", "auto"), True, [("openvino", "bf16"), ("eager", "bf16"), ("eager", "fp32")]),
        (("auto", "auto"), False, [("eager", "fp32")]),
        (("auto", "bf16"), False, [("openvino", "bf16"), ("eager", "bf16")]),
        (("auto", "fp32"), True, [("eager", "fp32")]),
        (("eager", "auto"), True, [("eager", "bf16"), ("eager", "fp32")]),
        (("openvino", "auto"), False, [("openvino", "fp32")]),
        (("openvino", "bf16"), True, [("openvino", "bf16")]),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU other names are the fastest")
def test_what_auto_stands_for(names, bf16, expected, monkeypatch):
    monkeypatch.setattr(choice, "has_bf16", lambda: bf16)
    assert candidates(*names) == expected


class OnlyInFloat32(nn.Module):
    """As many networks are: it makes an array of its own, in float32."""

    def forward(self, x):
        return x.flatten(1) @ torch.ones(x[0].numel(), 2)


def test_a_network_that_only_runs_in_fp32_runs_in_fp32(monkeypatch):
    monkeypatch.setattr(choice, "has_bf16", lambda: True)
    smoothed = dsmooth.SmoothedClassifier(OnlyInFloat32(), None, 0.25, backend="eager")
    assert smoothed.question().dtype == "bf16"
    with pytest.warns(UserWarning, match=r"in bf16: .*; continuing with eager in fp32"):
        smoothed.certify(np.zeros((4, 4, 3), np.uint8), n=20)
    assert smoothed.question().dtype == "fp32"
    with pytest.raises(BadModel, match="in bf16"):  # asked for, and not changed
        dsmooth.SmoothedClassifier(OnlyInFloat32(), None, 0.25, backend="eager", dtype="bf16").certify(
            np.zeros((4, 4, 3), np.uint8), n=20
        )
    with pytest.raises(BadModel, match=r"do not accept images of shape .* in fp32"):  # in no dtype
        dsmooth.SmoothedClassifier(nn.Linear(7, 2), None, 0.25).certify(np.zeros((4, 4, 3), np.uint8), n=20)


def test_threads_that_come_first_together_choose_the_dtype_once(monkeypatch):
    """Each took what failed it from what was left, until nothing was."""
    monkeypatch.setattr(choice, "has_bf16", lambda: True)
    meeting, found = threading.Barrier(2), []

    class Meeting(OnlyInFloat32):
        def forward(self, x):
            if x.dtype == torch.bfloat16:
                with contextlib.suppress(threading.BrokenBarrierError):
                    meeting.wait(2)  # for the other thread, which would be here too
            return super().forward(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it continues in fp32
        smoothed = dsmooth.SmoothedClassifier(Meeting(), None, 0.25, backend="eager", workers=2)
        ask = [
            threading.Thread(
                target=lambda: found.append(smoothed.submit(np.zeros((4, 4, 3), np.uint8)).result(60).done)
            )
            for _ in range(2)
        ]
        for thread in ask:
            thread.start()
        for thread in ask:
            thread.join()
        smoothed.close()
    assert found == [True, True]


def test_the_processor_is_known_by_what_linux_says_of_it():
    told = Path("/proc/cpuinfo")
    if not told.exists() or torch.cuda.is_available():
        pytest.skip("needs Linux, and no GPU")
    flags = told.read_text().split()
    assert HAS_BF16() == bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


class Undecided(nn.Module):
    """Its answer depends on the pixels by a branch, which a trace takes once."""

    def forward(self, x):
        y = x.mean(dim=(2, 3))
        return y if float(x[0, 0, 0, 0]) < -1.0 else (-y if len(x) > 1 else 7 * y)


def test_a_network_that_openvino_gets_wrong_is_refused_and_auto_goes_on_in_torch():
    with pytest.raises(CannotRun, match="use the backend eager"):
        dsmooth.SmoothedClassifier(Undecided(), None, 0.25, backend="openvino", dtype="bf16").certify(
            np.zeros((4, 4, 3), np.uint8)
        )
    if fastest("bf16") != "openvino":
        pytest.skip("auto is not OpenVINO on this machine")
    smoothed = dsmooth.SmoothedClassifier(Undecided(), None, 0.25, dtype="bf16")
    with pytest.warns(UserWarning, match="continuing with eager"):
        smoothed.certify(np.zeros((4, 4, 3), np.uint8))
    assert smoothed.pipeline.backend.name == "eager"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smoothed.certify(np.zeros((4, 4, 3), np.uint8))


def test_what_the_network_raises_is_about_the_network():
    with pytest.raises(DsmoothError, match="do not accept images of shape"):
        dsmooth.SmoothedClassifier(nn.Linear(5, 2), None, 0.25, backend="openvino").certify(
            np.zeros((4, 4, 3), np.uint8)
        )


def test_difference_sees_what_is_not_finite():
    x = torch.tensor([1.0, 2.0, float("nan")])
    assert difference(x, x) == 0
    assert difference(torch.tensor([1.0, 2.0, 3.0]), x) == float("inf")
    assert difference(torch.zeros(2), torch.zeros(3)) == float("inf")
    assert difference(torch.tensor([1e-9]), torch.zeros(1)) == pytest.approx(1e-9)


def test_the_batch_is_measured_where_it_pays_and_kept():
    smoothed = dsmooth.SmoothedClassifier(Constant(), None, 0.25, backend="eager")
    assert smoothed.sizes.area == smoothed.pipeline.backend.area
    smoothed.settle((4, 4, 3), samples=10**9)
    settled = smoothed.sizes.area
    assert settled // 16 in (128, 256, 512)  # rows of 4 x 4 pixels: the usual 256, half, or twice as many
    smoothed.settle((4, 4, 3), samples=10**9)
    assert smoothed.sizes.area == settled
    smoothed.adopt(replace(smoothed.question(), backend="eager", batch_area=160))
    assert smoothed.sizes.area == 160


FORKS = """
import sys
forks = []
sys.addaudithook(lambda event, _: forks.append(event) if event in ("os.fork", "os.forkpty", "subprocess.Popen") else None)
import torch
from dsmooth.backends.openvino import OpenVino

torch.set_num_threads(1)
OpenVino("fp32", workers=1).ready(torch.nn.Conv2d(3, 2, 1).eval())(torch.rand(2, 3, 4, 4))
print("forked", len(forks))
"""


def test_openvino_forks_no_process_to_tell_of_its_use(tmp_path):
    pytest.importorskip("openvino")
    held = {**environment(tmp_path), "HOME": str(tmp_path)}
    for name in ("CI", "TF_BUILD", "JENKINS_URL"):  # where its telemetry is silent by itself
        held.pop(name, None)
    done = subprocess.run([sys.executable, "-c", FORKS], env=held, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["forked", "0"]
