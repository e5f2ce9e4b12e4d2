"""A training in several processes is the training of one, but for rounding."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dsmooth.denoisers.loading import load_denoiser
from dsmooth.errors import BadParameter
from dsmooth.training.loop import fabric_for, is_first, share_of
from dsmooth.training.plan import TrainingPlan
from support import environment

pytestmark = pytest.mark.slow

LINE = [
    *("train", "images", "--widths", "8", "12", "--blocks", "1", "1", "--steps", "6", "--every", "2"),
    *("--patch", "16", "--precision", "32-true", "--lr", "1e-3"),
]
BATCH = ["--batch", "4"]
OBJECTIVES = {
    "mse": [],
    "a head that nobody asks": ["--classes", "3"],
    "a head and nothing else": ["--objective", "head", "--classes", "3"],
    "a head, then a classifier too": [
        *("--objective", "clf + head", "--alone", "0.5", "--surrogate", "import:tiny:model", "--classes", "3"),
    ],
    "weights by noise level": ["--architecture", "unet-by-noise", "--sigma-min", "0.2", "--sigma-max", "0.5"],
    "a classifier, a head, two draws": [
        *("--objective", "mse + 0.1 stab + 0.1 cons + 0.1 head + 0.1 headcons"),
        *("--surrogate", "import:tiny:model", "--classes", "3", "--cut", "0.01"),
    ],
}
TINY = """
import torch
from torch import nn

def model():
    torch.manual_seed(3)
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3))
"""


@pytest.fixture
def folder(tmp_path):
    y, x = np.mgrid[0:24, 0:24]
    for i in range(6):
        waves = 127 + 100 * np.sin((x * (i + 1) + y * 2) / 9)
        place = tmp_path / "images" / str(i % 3) / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([waves, waves[::-1], 255 - waves], -1).astype(np.uint8)).save(place)
    (tmp_path / "tiny.py").write_text(TINY)
    return tmp_path


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return str(held.getsockname()[1])


def started(folder, *line, **variables):
    """The command, in a process of its own."""
    held = {**environment(), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", **variables}
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "dsmooth", *line], cwd=folder, env=held, **told)


def finished(*processes):
    """What each process said; all of them ended well."""
    told = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), told
    return [out for out, _ in told]


def torchrun(folder, *line, count=2):
    """The command as torchrun starts it, so many times."""
    same = {
        "LOCAL_WORLD_SIZE": str(count),
        "WORLD_SIZE": str(count),
        "GROUP_WORLD_SIZE": "1",
        "MASTER_PORT": free_port(),
    }
    same |= {"TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0"}
    return [started(folder, *line, RANK=str(i), LOCAL_RANK=str(i), **same) for i in range(count)]


def course(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


def check_same(one, other):
    for (step, loss), (other_step, other_loss) in zip(course(one), course(other), strict=True):
        assert step == other_step
        assert loss == pytest.approx(other_loss, rel=1e-5)
    weights = load_denoiser(other / "model.safetensors").state_dict()
    for name, value in load_denoiser(one / "model.safetensors").state_dict().items():
        assert torch.allclose(value, weights[name], rtol=0.0, atol=1e-4), name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_train_as_one_does_and_either_goes_on_for_the_other(folder, objective):
    line = [*LINE, *BATCH, *OBJECTIVES[objective]]
    finished(started(folder, *line, "--out", "one"))
    said = finished(*torchrun(folder, *line, "--out", "two"))
    assert "denoiser: two" in said[0]
    assert said[1] == ""
    check_same(folder / "one", folder / "two")
    recipe = json.loads((folder / "one" / "recipe.json").read_text())
    assert json.loads((folder / "two" / "recipe.json").read_text()) == recipe
    for place in ("one", "two"):  # as an interruption after step 4 leaves them
        (folder / place / "checkpoint-00000006.pt").unlink()
        (folder / place / "model.safetensors").rename(folder / place / "model.old")
    before = {place: course(folder / place) for place in ("one", "two")}
    finished(started(folder, *line, "--out", "two", "--resume"))
    finished(*torchrun(folder, *line, "--out", "one", "--resume"))
    check_same(folder / "one", folder / "two")
    for place in ("one", "two"):
        assert course(folder / place) == [pytest.approx(row, rel=1e-5) for row in before[place]]


def test_the_command_starts_its_processes_itself(folder):
    finished(started(folder, *LINE, *BATCH, "--out", "one"))
    (said,) = finished(started(folder, *LINE, *BATCH, "--processes", "2", "--out", "two"))
    assert said.count("denoiser: two") == 1
    check_same(folder / "one", folder / "two")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "3"], "2 processes can share equally, got 3"),
        ([*BATCH, "--norm"], "batch normalisation is for one process"),
    ],
)
def test_what_cannot_be_shared_is_refused_by_all(folder, options, message):
    processes = torchrun(folder, *LINE, *options, "--out", "out")
    for process in processes:
        _, told = process.communicate(timeout=240)
        assert process.returncode == 2
        assert message in told
        assert "Traceback" not in told
    assert not (folder / "out").exists()


def test_a_process_that_is_alone_takes_all_and_speaks(monkeypatch):
    monkeypatch.setenv("RANK", "3")  # of something else
    assert is_first(1)
    fabric = fabric_for(TrainingPlan(precision="32-true"))
    assert share_of(fabric, 7) == slice(None)


def test_shares_are_whole_and_disjoint():
    class Two:
        world_size, device = 2, torch.device("cpu")

        def __init__(self, rank):
            self.global_rank = rank

    shares = [share_of(Two(rank), 4, draws=2).tolist() for rank in (0, 1)]
    assert shares == [[0, 2, 4, 6], [1, 3, 5, 7]]
    with pytest.raises(BadParameter, match="share equally, got 5"):
        share_of(Two(0), 5)
    assert os.environ.get("WORLD_SIZE") is None
