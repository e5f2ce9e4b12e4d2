"""Denoisers of the user's own code, and the guide's wrapper for checkpoints of improved-diffusion."""

import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dsmooth.denoisers.loading import load_denoiser
from pages import BLOCK
from support import ROOT, dsmooth, refused

# a small network behind the interface of improved-diffusion, in whose checkpoints times are rescaled to 1,000
PACKAGE = """
import numpy as np
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x, time):
        return self.conv(x) * (1 + time.view(-1, 1, 1, 1) / 100)


class Diffusion:
    def __init__(self, steps):
        f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        self.steps, self.alphas_cumprod = steps, np.cumprod(1 - np.minimum(1 - f[1:] / f[:-1], 0.999))

    def _wrap_model(self, model):
        return lambda x, time: model(x, time.float() * (1000 / self.steps))


def model_and_diffusion_defaults():
    return {"image_size": 64, "noise_schedule": "linear", "diffusion_steps": 1000, "learn_sigma": False}


def create_model_and_diffusion(image_size, noise_schedule, diffusion_steps, learn_sigma, **others):
    assert (noise_schedule, learn_sigma) == ("cosine", True)
    return Network(), Diffusion(diffusion_steps)
"""

CHECKPOINT = "cifar10_uncond_50M_500K.pt"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the user works: the guide's factory, a checkpoint, a classifier and an image."""
    text = (ROOT / "docs" / "guide" / "denoisers.md").read_text()
    (code,) = [code for _, info, code in BLOCK.findall(text) if info == "python iddpm.py"]
    (tmp_path / "iddpm.py").write_text(code)
    (tmp_path / "improved_diffusion").mkdir()
    (tmp_path / "improved_diffusion" / "script_util.py").write_text(PACKAGE)
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 6, 3, padding=1)
    torch.save({f"conv.{name}": value for name, value in conv.state_dict().items()}, tmp_path / CHECKPOINT)
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((8, 8, 3), 150, np.uint8)).save(tmp_path / "images" / "one.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # refused commands leave the folder as it is
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("improved_diffusion", "iddpm", "mine")]:
        del sys.modules[name]


def test_a_checkpoint_is_wrapped_as_the_guide_says(folder):
    denoiser = load_denoiser("import:iddpm:denoiser")
    assert (denoiser.name, denoiser.architecture, denoiser.training) == ("import:iddpm:denoiser", "diffusion", False)
    conv = torch.nn.Conv2d(3, 6, 3, padding=1).double()
    held = torch.load(CHECKPOINT, weights_only=True)
    conv.load_state_dict({name.removeprefix("conv."): value for name, value in held.items()})
    y = torch.rand(2, 3, 8, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sigma, t in ((0.05, 225), (0.5, 1984)):  # of 4,000 times by the cosine
        f = np.cos((np.array([0, t + 1]) / 4000 + 0.008) / 1.008 * np.pi / 2) ** 2
        root, rest = float(np.sqrt(f[1] / f[0])), float(np.sqrt(1 - f[1] / f[0]))
        seen = root * (2 * y - 1)
        with torch.inference_mode():
            noise = conv(seen)[:, :3] * (1 + t / 4 / 100)
            found = denoiser.denoise(y.float(), sigma).double()
        assert torch.allclose(found, ((seen - rest * noise) / root + 1) / 2, atol=1e-4)


def test_it_certifies_and_verify_takes_it_again(folder):
    models = ("-c", "import:support:Halves", "-d", "import:iddpm:denoiser")
    done = dsmooth("certify", "images", *models, "--sigma", "0.25", "--n", "100", "--n0", "10", "--out", "run")
    assert done.code == 0, done.err
    again = dsmooth("verify", "run", *models, "--images", "images")
    assert "run: verified" in again.out, again.out + again.err
    (folder / "iddpm.py").write_text((folder / "iddpm.py").read_text().replace('"epsilon"', '"sample"'))
    other = dsmooth("verify", "run", *models, "--images", "images")
    assert other.code not in (0, 4), other.out + other.err
    assert "denoiser" in other.out + other.err


def test_a_checkpoint_with_code_is_refused(folder):
    (folder / CHECKPOINT).write_bytes(pickle.dumps({"conv.weight": print}))
    refused(folder, "predict", "images", "-c", "import:support:Halves", "-d", "import:iddpm:denoiser", "--sigma", "0.25",
            says="import:iddpm:denoiser failed: UnpicklingError")  # fmt: skip


def test_nothing_else_is_taken(folder):
    (folder / "mine.py").write_text("def number(): return 3\ndef broken(): raise OSError('no disk')\n")
    for spec, says in (
        (
            "import:mine:number",
            "import:mine:number: expected a Denoiser, such as dsmooth.denoisers.diffusion.Diffusion",
        ),
        ("import:mine:broken", "import:mine:broken failed: OSError: no disk"),
        ("import:mine:nothing", "cannot be imported"),
        ("import:mine", "expected import:package.module:factory"),
    ):
        refused(folder, "predict", "images", "-c", "import:support:Halves", "-d", spec, "--sigma", "0.25", says=says)
