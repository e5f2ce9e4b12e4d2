import numpy as np
import pytest
import torch

from dsmooth.classifiers.local import TorchClassifier
from dsmooth.images.opening import open_images
from dsmooth.training.measure import measure, picture_strip
from support import Constant


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.clip(
        128 + 60 * np.sin(np.mgrid[0:16, 0:16].sum(0) / 3)[None, :, :, None] + rng.normal(0, 9, (5, 1, 1, 3)), 0, 255
    )
    np.savez(tmp_path / "a.npz", images=smooth.astype(np.uint8), labels=[3, 3, 3, 1, 3])
    return open_images(tmp_path / "a.npz")


def test_a_perfect_denoiser_and_none(images):
    clean = torch.from_numpy(np.stack([image.pixels for image in images])).permute(0, 3, 1, 2).float() / 255
    seen = []
    noisy, perfect = measure(
        lambda x, sigma: clean + 1e-4, images, [0.25], TorchClassifier(Constant(3)), on_row=seen.append
    )
    assert [noisy, perfect] == seen
    assert noisy.psnr < 15 < perfect.psnr == pytest.approx(80, abs=0.5)
    assert noisy.ssim < 0.6 < perfect.ssim == pytest.approx(1, abs=1e-3)
    assert noisy.accuracy == perfect.accuracy == pytest.approx(4 / 5)
    assert measure(lambda x, sigma: x, images, [0.25])[1].accuracy is None


def test_without_labels_the_classifier_agrees_with_itself(images, tmp_path):
    np.savez(tmp_path / "b.npz", images=np.stack([image.pixels for image in images]))
    rows = measure(lambda x, sigma: x, open_images(tmp_path / "b.npz"), [0.1], TorchClassifier(Constant(3)))
    assert rows[1].accuracy == 1.0


def test_both_rows_have_the_same_noise(images):
    noisy, denoised = measure(lambda x, sigma: x, images, [0.3])
    assert (noisy.psnr, noisy.ssim) == (denoised.psnr, denoised.ssim)


def test_the_strip_shows_clean_noisy_denoised_and_residual(images):
    strip = np.asarray(picture_strip(lambda x, sigma: x, images[:2], [0.1, 0.5], scale=3))
    assert strip.shape == (4 * (48 + 2), 4 * (48 + 2), 3)
    clean = strip[:48, :48][::3, ::3]
    assert np.array_equal(clean, images[0].pixels)
    assert np.array_equal(strip[:48, 50:98], strip[:48, 100:148])
    assert abs(strip[:48, 150:198].mean() - 127.5) < 5
