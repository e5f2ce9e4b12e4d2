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
    assert strip.shape == (16 + 4 * (16 + 48 + 2), 4 * (48 + 2), 3)
    first = strip[32:80]
    assert np.array_equal(first[:, :48][::3, ::3], images[0].pixels)
    assert np.array_equal(first[:, 50:98], first[:, 100:148])
    assert abs(first[:, 150:198].mean() - 127.5) < 5


def test_the_strip_says_what_it_shows(images):
    """Headings once, and above each row its sigma and the PSNR of its noisy and denoised image, as they would be drawn."""
    strip = np.asarray(picture_strip(lambda x, sigma: 0.5 + 0 * x, images[:2], [0.1, 0.5], scale=4))
    titles, *bands = [strip[:16], *(strip[16 + i * (16 + 66) :][:16] for i in range(4))]
    assert all((titles[:, i * 66 : (i + 1) * 66] < 128).any() for i in range(4))
    assert np.array_equal(bands[0][:, :66], bands[1][:, :66])  # the same sigma
    assert not np.array_equal(bands[1][:, :66], bands[2][:, :66])
    assert not np.array_equal(bands[0][:, 66:132], bands[2][:, 66:132])  # noisier
    assert np.array_equal(bands[0][:, 132:198], bands[2][:, 132:198])  # grey, whatever the noise
    assert (bands[0][:, 198:] == 255).all()
