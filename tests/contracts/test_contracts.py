"""One table for each protocol: whatever joins the table must keep the contract."""

import math

import numpy as np
import pytest
import torch

from dsmooth.backends.eager import Eager
from dsmooth.classifiers.base import Classifier
from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.classifiers.onnx import OnnxClassifier
from dsmooth.denoisers.diffusion import Diffusion
from dsmooth.denoisers.dncnn import DnCNN
from dsmooth.denoisers.ffdnet import FFDNet
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.denoisers.names import SHIPPED
from dsmooth.denoisers.song_unet import SongUNet
from dsmooth.denoisers.unet import UNet
from dsmooth.errors import BadModel, BadParameter
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.rules import CERTIFIERS, certifier_named
from dsmooth.theory.votes import Votes
from support import Linear, data

EAGER = Eager("fp32", 1)

# --- Certifier: votes in, certificate out ------------------------------------------------------------------------------

UNIT = Gaussian(1.0)


@pytest.mark.parametrize("certifier", [certifier_named(name) for name in CERTIFIERS], ids=lambda c: c.name)
class TestCertifier:
    def certify(self, certifier, counts, trials, **changes) -> Certificate:
        arguments = {"alpha": 0.001, "norm": 2.0, "dim": 12, **changes}
        return certifier.certify(Votes({0: 5}, 5), Votes(counts, trials), UNIT, **arguments)

    def test_a_clear_majority_is_certified(self, certifier):
        certificate = self.certify(certifier, {0: 990, 1: 10}, 1000)
        assert certificate.answer == 0
        assert 0 < certificate.radius < 4
        assert certificate.certifier == certifier.name

    def test_a_tie_a_loser_and_silence_are_not(self, certifier):
        for counts in ({0: 500, 1: 500}, {0: 100, 1: 900}, {1: 1000}, {}):
            certificate = self.certify(certifier, counts, 1000)
            assert certificate.abstained
            assert certificate.radius == 0.0

    def test_a_missing_vote_is_never_better_than_any_answer(self, certifier):
        lost = self.certify(certifier, {0: 900}, 1000).radius
        assert lost <= self.certify(certifier, {0: 900, 1: 100}, 1000).radius
        assert lost <= self.certify(certifier, {0: 1000}, 1000).radius

    def test_more_confidence_costs_radius(self, certifier):
        radii = [self.certify(certifier, {0: 900, 1: 100}, 1000, alpha=a).radius for a in (0.1, 0.001, 1e-6)]
        assert radii == sorted(radii, reverse=True)

    @pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
    def test_impossible_levels_are_refused(self, certifier, alpha):
        with pytest.raises(BadParameter):
            self.certify(certifier, {0: 10}, 10, alpha=alpha)


# --- Denoiser: (B, C, H, W) and sigma in, the same shape out ----------------------------------------------------------


class Timed(torch.nn.Module):
    """A network that is told a time, as those of diffusion models are."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, time):
        return self.conv(x) * (1 + time.view(-1, 1, 1, 1))


ALPHAS = torch.linspace(0.99, 0.01, 50)
FLAT = {"model_channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [8]}

DENOISERS = {
    "unet": lambda: UNet((8, 12), (1, 1), shuffle=2),
    "unet without folding": lambda: UNet((8,), (1,), shuffle=1),
    "unet for grey": lambda: UNet((8, 8, 8), (1, 2, 1), channels=1),
    "dncnn": lambda: DnCNN(4, 8),
    "dncnn for grey": lambda: DnCNN(3, 8, channels=1),
    "ffdnet": lambda: FFDNet(4, 8),
    "ffdnet for grey": lambda: FFDNet(3, 8, channels=1),
    "unet with a class head": lambda: UNet((8, 12), (2, 1), scaled=True, classes=5, decoder_blocks=(1,)),
    "diffusion, noise": lambda: Diffusion(Timed(), "epsilon", alphas=ALPHAS),
    "diffusion, EDM": lambda: Diffusion(Timed(), "edm"),
    "diffusion, DDPM++": lambda: Diffusion(SongUNet(8, 3, 3, **FLAT), "edm"),
    "diffusion, velocity": lambda: Diffusion(Timed(), "flow"),
    **{f"shipped {name}": lambda name=name: load_denoiser(name) for name in SHIPPED},
}


@pytest.mark.parametrize("make", DENOISERS.values(), ids=DENOISERS.keys())
class TestDenoiser:
    @pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 5)])
    def test_same_shape_any_size(self, make, size):
        denoiser = make().eval()
        x = torch.rand(2, denoiser.channels, *size)
        with torch.inference_mode():
            assert denoiser.denoise(x, 0.25).shape == x.shape
            assert denoiser.denoise(x, torch.tensor([0.1, 0.5])).shape == x.shape

    def test_rows_do_not_know_each_other(self, make):
        denoiser = make().eval()
        x = torch.rand(3, denoiser.channels, 8, 8)
        with torch.inference_mode():
            together = denoiser.denoise(x, 0.25)
            alone = torch.cat([denoiser.denoise(row[None], 0.25) for row in x])
        assert torch.allclose(together, alone, atol=1e-5)

    def test_the_input_is_left_alone(self, make):
        denoiser = make().eval()
        x = torch.rand(2, denoiser.channels, 8, 8)
        before = x.clone()
        with torch.inference_mode():
            denoiser.denoise(x, 0.25)
        assert torch.equal(x, before)

    def test_it_is_told_sigma_or_says_that_it_is_blind(self, make):
        denoiser = make().eval()
        x = torch.rand(1, denoiser.channels, 8, 8)
        with torch.inference_mode():
            same = torch.equal(denoiser.denoise(x, 0.1), denoiser.denoise(x, 0.5))
        assert same == denoiser.blind

    def test_wrong_channels_are_refused(self, make):
        with pytest.raises(BadModel, match="channels"):
            make().denoise(torch.rand(1, 7, 8, 8), 0.25)

    def test_the_digest_follows_weights_and_configuration(self, make):
        denoiser, twin = make(), make()
        twin.load_state_dict(denoiser.state_dict())
        assert denoiser.digest() == twin.digest()
        with torch.no_grad():
            next(twin.parameters()).view(-1)[0] += 1e-3
        assert denoiser.digest() != twin.digest()

    def test_gradients_flow_through(self, make):
        denoiser = make().requires_grad_(True)
        x = torch.rand(1, denoiser.channels, 8, 8, requires_grad=True)
        denoiser.denoise(x, 0.25).sum().backward()
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().sum() > 0


# --- Classifier: (B, C, H, W) in, a label or None for each row out ----------------------------------------------------


def onnx():
    return OnnxClassifier(data() / "cifar10_models" / "resnet20.onnx")


CLASSIFIERS = {
    "module": lambda: TorchClassifier(Linear()),
    "module with normalisation": lambda: TorchClassifier(Linear(), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
    "cifar resnet": lambda: TorchClassifier(CifarResNet(20)),
    "onnx": onnx,
}


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS.keys())
class TestClassifier:
    def images(self, count=4):
        return torch.from_numpy(np.random.default_rng(0).random((count, 3, 32, 32), dtype=np.float32))

    def test_it_is_a_classifier(self, make):
        assert isinstance(make(), Classifier)
        assert make().name

    def test_one_answer_a_row(self, make):
        answers = make().prepared(EAGER)(self.images())
        assert len(answers) == 4
        assert all(isinstance(label, int) for label in answers)

    def test_answers_are_repeated_and_rows_do_not_know_each_other(self, make):
        answer, images = make().prepared(EAGER), self.images()
        expected = answer(images)
        assert answer(images) == expected
        assert answer(images.flip(0)) == expected[::-1]

    def test_rows_that_are_not_finite_have_no_answer(self, make):
        images = self.images()
        images[1] = torch.nan
        answers = make().prepared(EAGER)(images)
        assert answers[1] is None
        assert None not in (answers[0], answers[2], answers[3])

    def test_the_digest_is_a_function_of_the_model(self, make):
        assert make().digest() == make().digest() or make is CLASSIFIERS["cifar resnet"]
        assert len(make().digest()) == 64
