import pytest
import torch

from dsmooth.denoisers.dncnn import DnCNN
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.denoisers.memnet import MemNet
from dsmooth.denoisers.names import ARCHITECTURES
from dsmooth.denoisers.saving import save_denoiser
from dsmooth.denoisers.unet import UNet
from dsmooth.errors import BadParameter


@pytest.mark.parametrize(
    ("denoiser", "count"),
    [(DnCNN(norm=True), 558_400), (DnCNN(width=128, norm=True), 2_222_720), (MemNet(), 1_436_678)],
)
def test_the_networks_of_the_paper_have_its_parameter_counts(denoiser, count):
    assert sum(p.numel() for p in denoiser.parameters()) == count
    assert denoiser.blind


SMALL = {
    "dncnn": {"depth": 4, "width": 8, "norm": True},
    "memnet": {"blocks": 2, "units": 2, "width": 8},
    "unet": {"widths": [8, 12], "blocks": [1, 1], "shuffle": 1, "scaled": True},
    "ffdnet": {"depth": 3, "width": 8},
    "unet-by-noise": {"widths": [8, 12], "blocks": [1, 1], "shuffle": 1, "scaled": True, "fine": 1},
}
NORMED = {**SMALL["unet"], "norm": True, "classes": 3}


@pytest.mark.parametrize(("name", "config"), [*sorted(SMALL.items()), ("unet", NORMED)])
def test_a_trained_network_is_the_same_function_when_it_is_loaded_again(tmp_path, name, config):
    torch.manual_seed(0)
    denoiser = ARCHITECTURES.load(name)(**config).train()
    x = torch.rand(4, 3, 16, 16)
    for _ in range(3):  # moves the statistics of batch normalisation, where there are any
        denoiser.denoise(x + 0.3 * torch.randn_like(x), 0.3)
    save_denoiser(denoiser, tmp_path / "a.safetensors", data="", metrics={}, dtype=torch.float32)
    loaded = load_denoiser(tmp_path / "a.safetensors")
    assert loaded.config == denoiser.config
    assert loaded.digest() == denoiser.digest()
    with torch.inference_mode():
        assert torch.equal(loaded.denoise(x, 0.3), denoiser.eval().denoise(x, 0.3))


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("shape", [(1, 3, 7, 9), (2, 3, 16, 8)])
def test_any_size_keeps_its_size(name, shape):
    x = torch.rand(shape)
    assert ARCHITECTURES.load(name)(**SMALL[name]).eval().denoise(x, 0.25).shape == shape


@pytest.mark.parametrize("name", ["unet", "unet-by-noise", "ffdnet"])
def test_networks_that_are_told_sigma_use_it(name):
    denoiser = ARCHITECTURES.load(name)(**SMALL[name]).eval()
    x = torch.rand(1, 3, 16, 16)
    assert not torch.allclose(denoiser.denoise(x, 0.12), denoiser.denoise(x, 1.0))


def headed(**changes):
    torch.manual_seed(0)
    return UNet((8, 12), (2, 1), shuffle=1, scaled=True, **{"classes": 3, **changes}).eval()


def test_a_class_head_names_a_class_and_tells_all_pixels(tmp_path):
    denoiser = headed()
    x, sigma = torch.rand(4, 3, 16, 16), torch.full((4,), 0.3)
    with torch.inference_mode():
        estimate, logits = denoiser.recognise(x, sigma)
        assert logits.shape == (4, 3)
        assert torch.equal(estimate, denoiser(x, sigma))
        denoiser.context.bias.fill_(1.0)  # what it saw
        changed = (denoiser(x, sigma) != estimate).any(dim=1)
    assert changed.all()
    save_denoiser(denoiser, tmp_path / "a.safetensors", data="", metrics={}, dtype=torch.float32)
    loaded = load_denoiser(tmp_path / "a.safetensors")
    with torch.inference_mode():
        assert torch.equal(loaded.recognise(x, sigma)[1], logits)
    assert headed(classes=0).recognise(x, sigma)[1] is None


def test_fewer_blocks_on_the_way_up(tmp_path):
    denoiser = headed(decoder_blocks=(1,), classes=0)
    assert denoiser.config["decoder_blocks"] == [1]
    assert [len(blocks) for blocks in denoiser.decoders] == [1]
    assert "decoder_blocks" not in headed().config
    for wrong in ((), (1, 1), (0,)):
        with pytest.raises(BadParameter, match="decoder blocks for each scale but the coarsest"):
            headed(decoder_blocks=wrong)
    with pytest.raises(BadParameter, match="0 classes or more"):
        headed(classes=-1)


@pytest.mark.parametrize("sigma", [0.12, 0.25, 0.5, 1.0])
def test_an_untrained_scaled_unet_is_already_the_best_linear_estimate_of_a_pixel(sigma):
    torch.manual_seed(1)
    denoiser = UNet((16, 24), (1, 1), shuffle=1, scaled=True)
    clean = 0.5 + 0.25 * torch.randn(8, 3, 32, 32)
    with torch.inference_mode():
        error = float(((denoiser.denoise(clean + sigma * torch.randn_like(clean), sigma) - clean) ** 2).mean())
    best = 1 / (1 / 0.25**2 + 1 / sigma**2)
    assert best * 0.9 < error < best * 1.5
