import numpy as np
import pytest
import torch

from dsmooth.denoisers.loading import load_denoiser
from dsmooth.errors import BadModel
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.training.judging import psnr
from support import Linear


@pytest.mark.parametrize("name", ["tv", "nlm"])
@pytest.mark.parametrize("sigma", [0.12, 0.5])
def test_baselines_take_noise_out_of_photographs(name, sigma):
    from skimage.data import astronaut

    clean = torch.from_numpy(astronaut()[100:164, 200:264].transpose(2, 0, 1).copy())[None].float() / 255
    noisy = clean + sigma * torch.from_numpy(np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32))
    denoised = load_denoiser(name).denoise(noisy, sigma)
    assert denoised.shape == clean.shape
    assert psnr(denoised, clean) > psnr(noisy, clean) + 5


@pytest.mark.parametrize("name", ["tv", "nlm"])
def test_baselines_take_grey_images_and_have_nothing_to_save(name, tmp_path):
    grey = torch.full((1, 1, 16, 16), 0.5)
    assert load_denoiser(name).denoise(grey, 0.1).shape == grey.shape
    with pytest.raises(BadModel, match="expected a denoiser with weights"):
        load_denoiser(name).save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["tv", "nlm"])
def test_baselines_plug_in_by_name(name):
    denoiser = load_denoiser(name)
    assert denoiser.digest() == load_denoiser(name).digest() != load_denoiser("photo").digest()
    smoothed = SmoothedClassifier(Linear(), name, 0.25, dtype="bf16", workers=1)
    assert smoothed.certify(np.full((12, 12, 3), 200, np.uint8), n=60, seed=1).answer == 1
