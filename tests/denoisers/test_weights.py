import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dsmooth.denoisers.dncnn import DnCNN
from dsmooth.denoisers.ffdnet import FFDNet
from dsmooth.denoisers.loading import build, describe, load_denoiser
from dsmooth.denoisers.names import SHIPPED
from dsmooth.denoisers.saving import save_denoiser
from dsmooth.denoisers.unet import UNet
from dsmooth.errors import BadModel
from dsmooth.records.digests import digest_file
from support import ROOT, data


def saved(tmp_path, name="model.safetensors", **changes):
    denoiser = UNet((8, 12), (1, 1))
    denoiser.sigma_range = (0.1, 0.6)
    save_denoiser(denoiser, tmp_path / name, data="noise", metrics={"psnr": 30.0}, **changes)
    return denoiser


def test_what_is_saved_is_what_is_loaded(tmp_path):
    denoiser = saved(tmp_path, dtype=torch.float32)
    for spec in (tmp_path, tmp_path / "model.safetensors", str(tmp_path)):
        loaded = load_denoiser(spec)
        assert loaded.digest() == denoiser.digest()
        assert loaded.sigma_range == (0.1, 0.6)
        assert not loaded.training
        assert not any(p.requires_grad for p in loaded.parameters())
    described = describe(tmp_path)
    assert (described.data, described.metrics) == ("noise", {"psnr": 30.0})


def test_half_precision_halves_the_file_and_hardly_moves_the_answer(tmp_path):
    denoiser = saved(tmp_path, "a.safetensors", dtype=torch.float32).eval()
    save_denoiser(denoiser, tmp_path / "b.safetensors", data="", metrics={})
    assert (tmp_path / "b.safetensors").stat().st_size < 0.6 * (tmp_path / "a.safetensors").stat().st_size
    x = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(
            load_denoiser(tmp_path / "b.safetensors").denoise(x, 0.3), denoiser.denoise(x, 0.3), atol=0.01
        )


def test_nan_weights_are_not_saved_and_not_loaded(tmp_path):
    denoiser = saved(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    denoiser.head.bias.data[0] = torch.nan
    with pytest.raises(BadModel, match="finite"):
        save_denoiser(denoiser, tmp_path / "model.safetensors", data="", metrics={})
    assert (tmp_path / "model.safetensors").read_bytes() == before
    save_file({"conv0.weight": torch.full((3, 3, 3, 3), torch.nan)}, tmp_path / "nan.safetensors")
    with pytest.raises(BadModel, match="finite"):
        load_denoiser(tmp_path / "nan.safetensors")


def lying(tmp_path, story):
    path = tmp_path / "lying.safetensors"
    save_file({"head.weight": torch.zeros(1)}, path, metadata={"dsmooth": json.dumps(story)})
    return path


GOOD = {"schema": 1, "architecture": "unet", "config": {}, "sigma_range": None, "data": "", "metrics": {}}


NO_RANGES = [
    [0.1, 10**400], [10**400, 10**401], [0.6, 0.1], [float("nan"), 0.6], [0.1, float("nan")], [0.1, float("inf")],
    [-0.1, 0.6], [0, 0.6], ["0.1", "0.6"], [False, True],
]  # fmt: skip


@pytest.mark.parametrize(
    ("story", "message"),
    [
        ({**GOOD, "schema": 9}, "schema 1, got 9"),
        (
            {**GOOD, "architecture": "os.system"},
            "architecture must be one of unet, unet-by-noise, dncnn, memnet, ffdnet",
        ),
        ({**GOOD, "config": {"widths": "x"}}, "cannot be built"),
        ({**GOOD, "config": {"command": "rm"}}, "cannot be built"),
        ({**GOOD, "config": {"widths": [], "blocks": []}}, "as many widths as blocks"),
        ({**GOOD, "sigma_range": [1]}, "damaged"),
        *[({**GOOD, "sigma_range": bounds}, "sigma_range") for bounds in NO_RANGES],
        ({"schema": 1}, "damaged"),
        ("text", "damaged"),
        (GOOD, "do not fit"),
        *[
            ({**GOOD, "architecture": name, "config": config}, "more layers than the file's 1 arrays")
            for name, config in [  # to build them, even without weights, would take hours
                ("memnet", {"blocks": 4096, "units": 4096, "width": 1}),
                ("unet", {"widths": [1] * 2000, "blocks": [4096] * 2000}),
                ("unet", {"widths": [1, 1], "blocks": [1, 0], "decoder_blocks": [4096]}),
                ("unet-by-noise", {"widths": [1] * 2000, "blocks": [4096] * 2000}),
                ("dncnn", {"depth": 4096, "width": 1}),
            ]
        ],
    ],
)
def test_files_that_lie_are_refused(tmp_path, story, message):
    from dsmooth.errors import BadInput

    with pytest.raises(BadInput, match=message):
        load_denoiser(lying(tmp_path, story))


def test_a_deeply_nested_description_is_refused(tmp_path):
    path = tmp_path / "deep.safetensors"
    save_file({"head.weight": torch.zeros(1)}, path, metadata={"dsmooth": "[" * 100_000 + "]" * 100_000})
    with pytest.raises(BadModel, match="damaged"):
        load_denoiser(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\x00" * 100)
    (tmp_path / "b.safetensors").write_bytes(b"")
    torch.save({"x": torch.zeros(1)}, tmp_path / "c.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "d.safetensors")
    for name in "abcd":
        with pytest.raises(BadModel, match=f"{name}.safetensors"):
            load_denoiser(tmp_path / f"{name}.safetensors")
    for missing in ("nothing", tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(BadModel, match="expected a name"):
            load_denoiser(missing)


def test_shipped_weights_are_small_listed_and_digested(monkeypatch):
    folder = ROOT / "src" / "dsmooth" / "denoisers" / "shipped"
    files = {path.stem: path for path in folder.glob("*.safetensors")}
    assert files.keys() == SHIPPED.keys()
    assert sum(path.stat().st_size for path in files.values()) <= 30_000_000
    for name, path in files.items():
        assert digest_file(path) == SHIPPED[name]
        described = describe(name)
        assert described.sigma_range is not None
        assert described.data != "unknown"
        assert described.metrics
    monkeypatch.setitem(SHIPPED, "photo", "0" * 64)
    with pytest.raises(BadModel, match="missing or damaged"):
        load_denoiser("photo")


def test_off_the_shelf_files_are_recognised():
    folder = data() / "denoisers"
    dncnn, ffdnet = (
        load_denoiser(folder / "dncnn_color_blind.safetensors"),
        load_denoiser(folder / "ffdnet_color.safetensors"),
    )
    assert isinstance(dncnn, DnCNN)
    assert dncnn.config == {"depth": 20, "width": 64, "channels": 3}
    assert isinstance(ffdnet, FFDNet)
    assert ffdnet.config == {"depth": 12, "width": 96, "channels": 3}


def test_the_shipped_denoiser_is_within_half_a_db_of_ffdnet_and_beyond_its_range_better():
    from dsmooth.images.opening import open_images
    from dsmooth.training.judging import psnr

    folder = data()
    ours, ffdnet = load_denoiser("photo"), load_denoiser(folder / "denoisers" / "ffdnet_color.safetensors")
    images = open_images(folder / "photos" / "cbsd68_jpeg.zip")[::16]
    for sigma, margin in ((25 / 255, -0.5), (0.25, -0.5), (0.5, 0.0)):
        gains = []
        for i, image in enumerate(images):
            clean = torch.from_numpy(image.pixels[:224, :224].transpose(2, 0, 1).copy())[None].float() / 255
            noise = torch.from_numpy(np.random.default_rng(i).standard_normal(clean.shape, dtype=np.float32))
            noisy = clean + sigma * noise
            with torch.inference_mode():
                best = psnr(ours.denoise(noisy, sigma), clean)
                gains.append(best - psnr(ffdnet.denoise(noisy, sigma), clean))
            assert best > psnr(noisy, clean) + 7
        assert np.mean(gains) > margin, (sigma, gains)


def test_unknown_architectures_are_refused():
    with pytest.raises(BadModel, match="architecture must be one of"):
        build("transformer", {})
