"""Small models of diffusers, trained here for a moment and saved as diffusers saves them."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.errors import BadModel

SCHEDULERS = {
    "epsilon": ("DDPMScheduler", {}),
    "v_prediction": ("DDIMScheduler", {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2"}),
    "sample": ("DDPMScheduler", {"prediction_type": "sample"}),
    "edm": ("EDMEulerScheduler", {}),
}


@pytest.fixture(scope="module")
def diffusers():
    import_torchvision()
    return pytest.importorskip("diffusers", reason="needs the extra diffusers", exc_type=ImportError)


def saved(diffusers, folder, kind, steps=0, **more):
    """A small model for 8 x 8 grey images in `folder`, taught blurry squares for so many steps; model and scheduler."""
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), **more,
    )  # fmt: skip
    name, config = SCHEDULERS[kind]
    scheduler = getattr(diffusers, name)(**config)
    if steps:
        adam = torch.optim.AdamW(model.parameters(), lr=2e-3)
        for _ in range(steps):
            x = 2 * squares(32) - 1
            times = torch.randint(0, 400, (32,))
            noise = torch.randn_like(x)
            noisy = scheduler.add_noise(x, noise, times)
            loss = (model(noisy, times).sample - noise).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
    model.eval().save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    return model, scheduler


def squares(count):
    x = torch.full((count, 1, 8, 8), 0.2)
    for i, (top, left) in enumerate(torch.randint(0, 5, (count, 2)).tolist()):
        x[i, :, top : top + 4, left : left + 4] = 0.8
    return x


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_saved_model_is_its_formula_in_float64(tmp_path, diffusers, kind):
    model, scheduler = saved(diffusers, tmp_path, kind)
    denoiser = load_denoiser(f"diffusers:{tmp_path}")
    y = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = 0.25
    s, z = 2 * sigma, 2 * y - 1

    def network(seen, time):
        with torch.inference_mode():
            return model(seen.float(), torch.full((2,), time)).sample.double()

    if kind == "edm":
        total = (s**2 + 0.25) ** 0.5
        clean = 0.25 / total**2 * z + s * 0.5 / total * network(z / total, float(np.log(s)) / 4)
    else:
        alphas = np.cumprod(1 - scheduler.betas.double().numpy())
        t = int(np.argmax(np.sqrt((1 - alphas) / alphas) >= s))
        root, rest = float(np.sqrt(alphas[t])), float(np.sqrt(1 - alphas[t]))
        seen = root * z
        answer = network(seen, t)
        clean = {
            "epsilon": (seen - rest * answer) / root, "v_prediction": root * seen - rest * answer, "sample": answer,
        }[kind]  # fmt: skip
    with torch.inference_mode():
        found = denoiser.denoise(y.float(), sigma).double()
    assert torch.allclose(found, (clean + 1) / 2, atol=1e-4)


def test_a_trained_model_denoises(tmp_path, diffusers):
    saved(diffusers, tmp_path, "epsilon", steps=150)
    denoiser = load_denoiser(f"diffusers:{tmp_path}")
    clean = squares(64)
    noisy = clean + 0.25 * torch.randn_like(clean)
    with torch.inference_mode():
        error = float((denoiser.denoise(noisy, 0.25) - clean).square().mean())
        odd = denoiser.denoise(noisy[:, :, :7, :5], 0.25)
    assert error < 0.3 * 0.25**2
    assert odd.shape == (64, 1, 7, 5)
    assert denoiser.digest() == load_denoiser(f"diffusers:{tmp_path}").digest()


def test_what_the_scheduler_does_not_say_is_as_in_diffusers_and_another_edm_is_refused(tmp_path, diffusers):
    saved(diffusers, tmp_path, "edm")
    path = tmp_path / "scheduler" / "scheduler_config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in told.items() if name != "sigma_data"}))
    assert load_denoiser(f"diffusers:{tmp_path}").config["spread"] == 0.5
    path.write_text(json.dumps({**told, "prediction_type": "v_prediction"}))
    with pytest.raises(BadModel, match="EDM's epsilon, got 'v_prediction'"):
        load_denoiser(f"diffusers:{tmp_path}")


def test_folders_that_are_none_are_refused(tmp_path, diffusers):
    with pytest.raises(BadModel, match="expected a folder of diffusers with unet/ and scheduler/"):
        load_denoiser(f"diffusers:{tmp_path}")
    saved(diffusers, tmp_path, "epsilon")
    path = tmp_path / "scheduler" / "scheduler_config.json"
    told = json.loads(path.read_text())
    for other in ("os", "DiffusionPipeline"):  # a pipeline loads whatever its own files name
        path.write_text(json.dumps({**told, "_class_name": other}))
        with pytest.raises(BadModel, match=f"cannot read them .*{other}"):
            load_denoiser(f"diffusers:{tmp_path}")
    path.write_text("[" * 100_000)
    with pytest.raises(BadModel, match="expected a folder of diffusers"):
        load_denoiser(f"diffusers:{tmp_path}")
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_text(json.dumps(told))
    weights.rename(weights.with_suffix(".bin"))  # never unpickled
    with pytest.raises(BadModel, match="cannot read them"):
        load_denoiser(f"diffusers:{tmp_path}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("conv_in.weight"), "1 are missing.*conv_in.weight"),
        (lambda arrays: arrays.update(other=torch.ones(1)), "1 are missing, unexpected .*other"),
        (
            lambda arrays: arrays["conv_in.bias"].fill_(float("nan")),
            "finite numbers, got NaN or infinity in conv_in.bias",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_refused(tmp_path, diffusers, change, message):
    saved(diffusers, tmp_path, "epsilon")
    path = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path, metadata={"format": "pt"})
    with pytest.raises(BadModel, match=message):
        load_denoiser(f"diffusers:{tmp_path}")


def test_models_that_cannot_be_a_denoiser_are_refused(tmp_path, diffusers):
    saved(diffusers, tmp_path / "classes", "epsilon", num_class_embeds=5)
    with pytest.raises(BadModel, match="conditioned on classes"):
        load_denoiser(f"diffusers:{tmp_path / 'classes'}")
    saved(diffusers, tmp_path / "zero", "epsilon")
    diffusers.DDIMScheduler(rescale_betas_zero_snr=True).save_pretrained(tmp_path / "zero" / "scheduler")
    with pytest.raises(
        BadModel, match=r"zero: expected alphas_cumprod between 0 and 1, got 0 to .*rescale_betas_zero_snr"
    ):
        load_denoiser(f"diffusers:{tmp_path / 'zero'}")
