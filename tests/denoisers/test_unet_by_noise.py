import copy

import pytest
import torch

from dsmooth.backends.choice import backend_named
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.denoisers.saving import save_denoiser
from dsmooth.denoisers.unet import UNet
from dsmooth.denoisers.unet_by_noise import UNetByNoise
from dsmooth.errors import BadInput, BadParameter
from dsmooth.smoothing.pipeline import denoiser_at

SHAPE = {"widths": (8, 12, 16), "blocks": (1, 1, 1), "shuffle": 1, "scaled": True}
COARSE = ("encoders.2.", "decoders.2.", "downs.2.", "ups.2.")


def unet(seed, **shape):
    torch.manual_seed(seed)
    return UNet(**{**SHAPE, **shape}).eval().requires_grad_(False)


def test_weak_noise_meets_the_finest_scales_of_one_and_the_coarse_ones_of_the_other():
    weak, strong = unet(1), unet(2)
    made = UNetByNoise.joined(weak, strong, border=0.3).eval()
    x = torch.rand(2, 3, 16, 16)
    for sigma in (0.3, 0.5):
        assert torch.equal(made.denoise(x, sigma), strong.denoise(x, sigma))
    both = {name: (strong if name.startswith(COARSE) else weak).state_dict()[name] for name in strong.state_dict()}
    mixed = unet(3)
    mixed.load_state_dict(both)
    assert torch.equal(made.denoise(x, 0.29), mixed.denoise(x, 0.29))
    assert not torch.allclose(mixed.denoise(x, 0.29), weak.denoise(x, 0.29))  # so a coarse scale is really shared


def test_in_a_mixed_batch_each_image_is_denoised_as_it_is_alone():
    made = UNetByNoise.joined(unet(1), unet(2)).eval()
    x, sigma = torch.rand(5, 3, 16, 16), torch.tensor([0.5, 0.2, 0.3, 0.1, 0.6])
    alone = torch.cat([made.denoise(row[None], level) for row, level in zip(x, sigma, strict=True)])
    assert torch.allclose(made(x, sigma), alone, atol=1e-6)


def test_each_set_of_weights_learns_from_its_own_noise():
    torch.manual_seed(0)
    made = UNetByNoise(**SHAPE)
    x = torch.rand(2, 3, 16, 16)
    for level, learning, idle in ((0.2, made.weak, made.strong.head), (0.5, made.strong.head, made.weak)):
        made.zero_grad()
        made(x, torch.full((2,), level)).sum().backward()
        assert all(weight.grad is not None for weight in learning.parameters())
        assert all(weight.grad is None for weight in idle.parameters())
        assert all(weight.grad is not None for weight in made.strong.encoders[2].parameters())


def test_a_copy_has_both_networks_to_itself():
    made = UNetByNoise.joined(unet(1), unet(2))
    x = torch.rand(2, 3, 16, 16)
    before = [made.denoise(x, sigma) for sigma in (0.2, 0.5)]
    copied = copy.deepcopy(made).double()
    copied.load_state_dict({name: value + 0.01 for name, value in made.state_dict().items()})
    for sigma, old in zip((0.2, 0.5), before, strict=True):
        new = copied.at(sigma).denoise(x.double(), sigma)
        assert new.dtype == torch.float64
        assert torch.equal(new, copied.denoise(x.double(), sigma))
        assert not torch.allclose(new.float(), old)
        assert torch.equal(made.denoise(x, sigma), old)


def test_a_file_holds_the_coarse_scales_once(tmp_path):
    made = UNetByNoise.joined(unet(1), unet(2))
    save_denoiser(made, tmp_path / "a.safetensors", data="", metrics={})
    single, double = (sum(weight.numel() for weight in network.parameters()) for network in (unet(1), made))
    finest = sum(w.numel() for name, w in unet(1).named_parameters() if not name.startswith(COARSE))
    assert double == single + finest
    loaded = load_denoiser(tmp_path / "a.safetensors")
    assert isinstance(loaded, UNetByNoise)
    changed = {**loaded.state_dict(), "weak.tail.bias": loaded.weak["tail"].bias + 1}
    before = loaded.digest()
    loaded.load_state_dict(changed)
    assert loaded.digest() != before


@pytest.mark.parametrize("name", ["eager", "openvino"])
@pytest.mark.parametrize("sigma", [0.25, 0.5])
def test_backends_run_the_network_for_the_noise_at_hand(name, sigma):
    made = UNetByNoise.joined(unet(1), unet(2))
    x = torch.rand(4, 3, 16, 16)
    run = backend_named(name, "fp32").ready(denoiser_at(made, sigma))
    assert torch.allclose(run(x), made.denoise(x, sigma), atol=1e-4)
    assert not torch.allclose(run(x), made.denoise(x, 0.75 - sigma), atol=1e-2)


def test_what_it_cannot_be_is_refused(tmp_path):
    for wrong, words in (
        ({"border": 0.0}, "border as a sigma above 0"),
        ({"fine": 4}, "expected 1 to 3 fine scales"),
        ({"fine": 0}, "expected 1 to 3 fine scales"),
        ({"classes": 3}, "no class head"),
    ):
        with pytest.raises(BadParameter, match=words):
            UNetByNoise(**{**SHAPE, **wrong})
    save_denoiser(UNetByNoise(**SHAPE), tmp_path / "a.safetensors", data="", metrics={})
    told = (tmp_path / "a.safetensors").read_bytes()
    for lie in (9, 1):
        (tmp_path / "b.safetensors").write_bytes(told.replace(b'fine\\":2', b'fine\\":%d' % lie))
        with pytest.raises(BadInput, match=r"fine scales|do not fit"):
            load_denoiser(tmp_path / "b.safetensors")
