"""Networks of EDM: the architecture beside NVIDIA's own code, and a small one trained here, written as the guide says."""

import json
import math
import pickle
import re
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dsmooth.denoisers.diffusion import Diffusion
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.denoisers.song_unet import SongUNet
from dsmooth.errors import BadModel, BadParameter
from pages import BLOCK
from support import ROOT

DDPM = {"embedding_type": "positional", "encoder_type": "standard", "channel_mult_noise": 1, "resample_filter": [1, 1]}
NCSN = {
    "embedding_type": "fourier",
    "encoder_type": "residual",
    "channel_mult_noise": 2,
    "resample_filter": [1, 3, 3, 1],
}

# answers of physicsnemo.models.diffusion_unets.SongUNet (NVIDIA PhysicsNeMo 2.2.2, torch's group normalisation, float64)
NVIDIA = [
    (DDPM, [1, 2], [-0.214076027, -0.149908774, -0.138526701, -0.071567925, -0.174972203, -0.152883384, -0.20080377]),
    (DDPM, [2, 2, 3], [-0.281295189, -0.03183749, -0.064610799, 0.038497219, 0.135969719, -0.070068728, -0.097738922]),
    (NCSN, [1, 2], [-0.202113746, -0.115843134, -0.17438442, -0.099752933, -0.204060739, -0.166431153, -0.208645664]),
    (NCSN, [2, 2, 3], [-0.25868557, -0.032485856, -0.066849695, 0.068614754, -0.006038567, -0.072859386, -0.06944208]),
]


@pytest.mark.parametrize(("kind", "mult", "answers"), NVIDIA)
def test_the_network_is_that_of_nvidia(kind, mult, answers):
    network = SongUNet(
        8, 1, 1, model_channels=8, channel_mult=mult, num_blocks=1, attn_resolutions=[4], augment_dim=9, **kind
    ).double()
    with torch.no_grad():
        for k, (name, array) in enumerate(sorted(network.state_dict().items())):
            if "resample_filter" not in name:
                waves = 0.3 * torch.sin(0.7 * torch.arange(array.numel(), dtype=torch.float64) + k)
                array.copy_(waves.reshape(array.shape))
        x = torch.sin(2 * torch.arange(128, dtype=torch.float64)).reshape(2, 1, 8, 8)
        found = network(x, torch.tensor([-0.4, 0.2], dtype=torch.float64))
    assert found.flatten()[::19].tolist() == pytest.approx(answers, abs=2e-9)


def test_other_networks_of_edm_are_refused():
    with pytest.raises(BadParameter, match="DDPM"):
        SongUNet(8, 1, 1, encoder_type="skip")


class EDMPrecond(nn.Module):
    """What the guide needs of EDM's class: the names of its arrays, and the arguments that it was built with."""

    def __init__(self, **told):
        super().__init__()
        self.init_kwargs = told
        passed = {"img_channels", "label_dim", "model_type", "use_fp16", "dropout", "sigma_data"}
        network = {name: value for name, value in told.items() if name not in passed}
        self.model = SongUNet(in_channels=told["img_channels"], out_channels=told["img_channels"], **network)


SETTINGS = {
    "img_resolution": 8, "img_channels": 1, "label_dim": 0, "model_type": "SongUNet", "use_fp16": True, "dropout": 0.13,
    "augment_dim": 9, "model_channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], **DDPM,
}  # fmt: skip


def squares(count):
    x = torch.full((count, 1, 8, 8), 0.2)
    for i, (top, left) in enumerate(torch.randint(0, 5, (count, 2)).tolist()):
        x[i, :, top : top + 4, left : left + 4] = 0.8
    return x


def convert(folder, network, monkeypatch):
    """What the guide's conversion makes of a pickle of this network."""
    (folder / "edm-cifar10-32x32-uncond-vp.pkl").write_bytes(pickle.dumps({"ema": network}))
    text = (ROOT / "docs" / "guide" / "denoisers.md").read_text()
    (code,) = [code for _, info, code in BLOCK.findall(text) if info == "python convert.py"]
    monkeypatch.chdir(folder)
    exec(compile(code, "convert.py", "exec"), {})
    return folder / "edm-cifar10.safetensors"


def test_a_trained_model_is_converted_denoises_and_is_its_formula(tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = EDMPrecond(**SETTINGS, sigma_data=0.6)
    adam = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for _ in range(80):  # the loss of Karras et al., table 1, in their scale
        x, s = 2 * squares(16) - 1, (-1.2 + 1.2 * torch.randn(16, 1, 1, 1)).exp()
        total = (s**2 + 0.36).sqrt()
        z = x + s * torch.randn_like(x)
        answer = network.model(z / total, s.flatten().log() / 4)
        loss = ((0.36 / total**2 * z + s * 0.6 / total * answer - x) * total / (0.6 * s)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    path = convert(tmp_path, network.eval(), monkeypatch)
    denoiser = load_denoiser(f"edm:{path}")
    assert denoiser.name == "edm:edm-cifar10.safetensors"

    clean = squares(64)
    noisy = clean + 0.25 * torch.randn_like(clean)
    with torch.inference_mode():
        assert float((denoiser.denoise(noisy, 0.25) - clean).square().mean()) < 0.3 * 0.25**2
        assert denoiser.denoise(noisy[:, :, :7, :5], 0.25).shape == (64, 1, 7, 5)

    y = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sigma in (0.05, 0.5):
        s, z = 2 * sigma, 2 * y - 1
        total = math.sqrt(s**2 + 0.6**2)
        with torch.inference_mode():
            answer = network.double().model(z / total, torch.full((2,), math.log(s) / 4, dtype=torch.float64))
            found = denoiser.denoise(y.float(), sigma).double()
        clean = 0.6**2 / total**2 * z + s * 0.6 / total * answer
        assert torch.allclose(found, (clean + 1) / 2, atol=1e-5)
    assert denoiser.digest() == load_denoiser(f"edm:{path}").digest()


@pytest.fixture
def written(tmp_path):
    """Writes a file of these settings and arrays."""
    arrays = {f"model.{name}": value for name, value in SongUNet(8, 1, 1, **NETWORK).state_dict().items()}

    def write(arrays=arrays, **changes):
        told = {name: value for name, value in {**TOLD, **changes}.items() if value is not None}
        save_file(arrays, tmp_path / "edm.safetensors", metadata={"edm": json.dumps(told)})
        return f"edm:{tmp_path / 'edm.safetensors'}"

    return write


NETWORK = {"model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
TOLD = {"class": "EDMPrecond", "model_type": "SongUNet", "img_resolution": 8, "img_channels": 1, **NETWORK}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": "VPPrecond"}, "expected EDMPrecond around a SongUNet, got 'VPPrecond'"),
        ({"model_type": None}, "got 'EDMPrecond' around 'DhariwalUNet'"),
        ({"label_dim": 10}, "conditioned on 10 classes"),
        ({"num_blocks": 2}, "do not fit its settings"),
        ({"num_blocks": 4096}, "do not fit its settings"),
        ({"model_channels": 4096}, "do not fit its settings"),
        ({"model_channels": 2}, "do not fit its settings"),
        ({"model_channels": 10**9}, "do not fit its settings"),
        ({"model_channels": "8"}, "do not fit its settings"),
        ({"channel_mult": [1] * 4000}, "do not fit its settings"),
        ({"channel_mult": []}, "do not fit its settings"),
        ({"channel_mult": {"a": 1}}, "do not fit its settings"),
        ({"img_channels": None}, "do not fit its settings"),
        ({"img_channels": -1}, "do not fit its settings"),
        ({"sigma_data": math.nan}, "do not fit its settings"),
        ({"sigma_data": "wide"}, "do not fit its settings"),
        ({"embedding_type": "fourier"}, "do not fit its settings"),
        ({"resample_filter": 3}, "do not fit its settings"),
        ({"surprise": 1}, "surprise"),
        ({"arrays": {"model.map_layer0.weight": torch.zeros(4, 4)}}, "do not fit its settings"),
    ],
)
def test_files_that_do_not_fit_are_refused_at_once(written, changes, message):
    assert load_denoiser(written()).channels == 1
    start = time.perf_counter()
    with pytest.raises(BadModel, match=re.escape(message)):
        load_denoiser(written(**changes))
    assert time.perf_counter() - start < 20  # by itself well below a second


def test_pickles_and_files_without_settings_are_refused(tmp_path, written):
    (tmp_path / "edm.pkl").write_bytes(pickle.dumps({"ema": 1}))
    with pytest.raises(BadModel, match="expected a safetensors file"):
        load_denoiser(f"edm:{tmp_path / 'edm.pkl'}")
    with pytest.raises(BadModel, match="expected a safetensors file"):
        load_denoiser("edm:nowhere.safetensors")
    arrays = load_file(written().partition(":")[2])
    for metadata in (None, {"edm": "[" * 100_000}, {"edm": "[1, 2]"}):
        save_file(arrays, tmp_path / "bare.safetensors", metadata=metadata)
        with pytest.raises(BadModel, match="expected the settings of an EDM network"):
            load_denoiser(f"edm:{tmp_path / 'bare.safetensors'}")


def test_equal_weights_in_another_network_have_another_digest():
    class Doubled(nn.Conv2d):
        def forward(self, x, time):
            return 2 * super().forward(x)

    class Plain(nn.Conv2d):
        def forward(self, x, time):
            return super().forward(x)

    made = [Diffusion(kind(3, 3, 1), "denoised") for kind in (Doubled, Plain)]
    made[1].load_state_dict(made[0].state_dict())
    assert made[0].digest() != made[1].digest()
