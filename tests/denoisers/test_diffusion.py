"""Every kind of diffusion model against its formula in float64, written out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth.denoisers.diffusion import Diffusion
from dsmooth.errors import BadModel, BadParameter


class Told(nn.Module):
    """Answers something that depends on image and time, and remembers what it was shown."""

    def forward(self, x, time):
        self.shown = (x.clone(), time.clone())
        return torch.cat([torch.sin(3 * x) * (1 + time.view(-1, 1, 1, 1).float() / 100), x], dim=1)


def linear(steps=1000):
    return np.cumprod(1 - np.linspace(1e-4, 0.02, steps))


def cosine(steps):
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - f[1:] / f[:-1], 0.999))


SIGMAS = (0.05, 0.12, 0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("alphas", "times"),
    [
        (linear(), [27, 70, 145, 259, 396]),
        (cosine(4000), [225, 573, 1158, 1984, 2809]),
        (cosine(1000), [56, 143, 289, 496, 702]),
    ],
)
def test_the_time_is_the_first_with_so_much_noise(alphas, times):
    denoiser = Diffusion(Told(), "epsilon", alphas=alphas)
    assert denoiser.time(torch.tensor(SIGMAS)).tolist() == times
    levels = np.sqrt((1 - alphas) / alphas)
    assert denoiser.sigma_range == pytest.approx((levels[0] / 2, levels[-1] / 2))
    assert denoiser.time(torch.tensor([1e-9, 1e9])).tolist() == [0, len(alphas) - 1]


def by_hand(prediction, y, sigma):
    """The estimate of one image y in float64, what the network sees, and its time."""
    s, z, alphas = 2 * sigma, 2 * y - 1, linear()

    def network(seen, time):
        return np.sin(3 * seen) * (1 + time / 100)

    if prediction in ("epsilon", "v_prediction", "sample"):
        t = int(np.argmax(np.sqrt((1 - alphas) / alphas) >= s))
        seen = np.sqrt(alphas[t]) * z
        out = network(seen, t)
        clean = {
            "epsilon": (seen - np.sqrt(1 - alphas[t]) * out) / np.sqrt(alphas[t]),
            "v_prediction": np.sqrt(alphas[t]) * seen - np.sqrt(1 - alphas[t]) * out,
            "sample": out,
        }[prediction]
    elif prediction == "edm":
        t, total = np.log(s) / 4, s**2 + 0.25
        seen = z / np.sqrt(total)
        clean = 0.25 / total * z + s * 0.5 / np.sqrt(total) * network(seen, t)
    elif prediction == "flow":
        t = s / (1 + s)
        seen = (1 - t) * z
        clean = seen - t * network(seen, t)
    else:
        t, seen = s, z
        clean = network(seen, t) if prediction == "denoised" else z + s**2 * network(seen, t)
    return (clean + 1) / 2, seen, t


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "edm", "denoised", "flow", "score"])
def test_each_family_is_its_formula(prediction):
    denoiser = Diffusion(Told(), prediction, alphas=linear())
    noisy = torch.rand(3, 3, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigmas = [0.05, 0.25, 1.0]
    found = denoiser.denoise(noisy.float(), torch.tensor(sigmas))
    for i, sigma in enumerate(sigmas):
        clean, seen, time = by_hand(prediction, noisy[i].numpy(), sigma)
        assert np.allclose(found[i].numpy(), clean, atol=2e-5 * max(1, np.abs(clean).max()))
        assert np.allclose(denoiser.network.shown[0][i].numpy(), seen, atol=1e-6)
        assert float(denoiser.network.shown[1][i]) == pytest.approx(time, rel=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "edm", "flow", "score"])
def test_what_knows_the_noise_returns_the_image(prediction):
    """A network that answers the truth, in each parametrisation, gives the clean image back."""
    clean = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    sigma, s, x = 0.25, 0.5, 2 * clean - 1
    products = torch.tensor([0.9, 1 / (1 + s**2) - 1e-6, 0.5])  # at time 1 the noise is s
    root, rest = products[1].sqrt(), (1 - products[1]).sqrt()
    total = (s**2 + 0.25) ** 0.5
    z = x + s * noise
    truth = {
        "epsilon": noise,
        "v_prediction": root * noise - rest * x,
        "edm": (x - 0.25 / total**2 * z) / (s * 0.5 / total),
        "flow": noise - x,
        "score": -noise / s,
    }[prediction]

    class Oracle(nn.Module):
        def forward(self, seen, time):
            return truth

    denoiser = Diffusion(Oracle(), prediction, alphas=products)
    assert torch.allclose(denoiser.denoise(clean + sigma * noise, sigma), clean, atol=1e-5)


def test_sides_that_do_not_fit_are_reflected_and_cut_off():
    denoiser = Diffusion(Told(), "sample", alphas=linear(), multiple=4)
    x = torch.rand(2, 3, 6, 9)
    assert denoiser.denoise(x, 0.25).shape == x.shape
    assert denoiser.network.shown[0].shape == (2, 3, 8, 12)
    with pytest.raises(BadModel, match="more than 3 pixels"):
        denoiser.denoise(torch.rand(1, 3, 1, 8), 0.25)


@pytest.mark.parametrize(
    ("prediction", "alphas", "message"),
    [
        ("noise", None, "a prediction as one of epsilon"),
        ("epsilon", None, "needs the products alphas"),
        ("epsilon", [0.9, 1.0], "between 0 and 1"),
        ("v_prediction", [0.5, 0.9], "which fall"),
    ],
)
def test_what_fits_no_family_is_refused(prediction, alphas, message):
    with pytest.raises(BadParameter, match=message):
        Diffusion(Told(), prediction, alphas=alphas)


def test_the_digest_follows_prediction_schedule_and_weights():
    class Net(Told):
        def __init__(self, value):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([value]))

    made = [
        Diffusion(Net(1.0), "epsilon", alphas=linear()),
        Diffusion(Net(1.0), "sample", alphas=linear()),
        Diffusion(Net(1.0), "epsilon", alphas=linear(900)),
        Diffusion(Net(2.0), "epsilon", alphas=linear()),
    ]
    assert len({denoiser.digest() for denoiser in made}) == 4
    assert made[0].digest() == Diffusion(Net(1.0), "epsilon", alphas=linear()).digest()
