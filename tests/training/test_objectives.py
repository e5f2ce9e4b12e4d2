import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dsmooth.errors import BadParameter
from dsmooth.training.objectives import Objective, mean_squared_error


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("mse", Objective(mse=1.0)),
        ("stab", Objective(stability=1.0)),
        ("classification", Objective(classification=1.0)),
        ("clf + 30 mse", Objective(classification=1.0, mse=30.0)),
        ("clf + 5 cons", Objective(classification=1.0, consistency=5.0)),
        ("0.5*stab+1e-2mse + CLF", Objective(stability=0.5, mse=0.01, classification=1.0)),
    ],
)
def test_a_text_is_a_weighted_sum(text, objective):
    assert Objective.parse(text) == objective


@pytest.mark.parametrize(
    "text",
    ["", "mae", "mse+", "mse + 2 mse", "0 mse", "-1 mse", "1.2.3 mse", "30", "mse 30", "clf - mse", "nan mse", "cons"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(BadParameter, match=r"expected|add stab or clf"):
        Objective.parse(text)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    clean = torch.rand(6, 3, 4, 4)
    denoised = (clean + 0.1 * torch.randn_like(clean)).requires_grad_()
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).requires_grad_(False)
    return denoised, clean, torch.linspace(0.1, 0.6, 6), network, torch.tensor([0, 1, 2, 3, 4, 0])


def test_each_objective_is_its_formula(batch):
    denoised, clean, sigma, network, labels = batch
    squares = [float((d - c).square().mean() / s) for d, c, s in zip(denoised.detach(), clean, sigma, strict=True)]
    assert float(mean_squared_error(denoised, clean, sigma).detach()) == pytest.approx(sum(squares) / 6, rel=1e-6)
    log_p = network(denoised.detach()).log_softmax(1)
    for objective, answers in (
        (Objective(classification=1.0), labels),
        (Objective(stability=1.0), network(clean).argmax(1)),
    ):
        expected = -sum(float(log_p[i, k]) for i, k in enumerate(answers.tolist())) / 6
        assert float(objective.loss(*batch).detach()) == pytest.approx(expected, rel=1e-5)
    parts = [Objective(mse=3.0), Objective(stability=0.5), Objective(classification=2.0)]
    whole = Objective(mse=3.0, stability=0.5, classification=2.0)
    assert float(whole.loss(*batch).detach()) == pytest.approx(
        sum(float(part.loss(*batch).detach()) for part in parts), rel=1e-6
    )


def test_consistency_is_its_formula(batch):
    denoised, clean, sigma, network, _ = batch
    p = network(denoised.detach()).softmax(1).double()
    mean = (p[:3] + p[3:]) / 2
    divergence = [sum(float((mean[i] * (mean[i] / q[i]).log()).sum()) for q in (p[:3], p[3:])) / 2 for i in range(3)]
    entropy = [-float((mean[i] * mean[i].log()).sum()) for i in range(3)]
    expected = sum(d + 0.05 * e for d, e in zip(divergence, entropy, strict=True)) / 3
    found = Objective(consistency=1.0).loss(denoised, clean, sigma, network, None)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
    same = torch.cat([denoised[:3], denoised[:3]])
    assert float(Objective(consistency=1.0).loss(same, clean, sigma, network, None).detach()) == pytest.approx(
        0.05 * -float((p[:3] * p[:3].log()).sum(1).mean()), rel=1e-4
    )


def test_temperature_divides_the_logits(batch):
    denoised, clean, sigma, network, labels = batch
    cooler = Objective(classification=1.0).loss(denoised, clean, sigma, network, labels, 4.0)
    assert float(cooler.detach()) == pytest.approx(float(F.cross_entropy(network(denoised.detach()) / 4.0, labels)))


def test_stability_needs_no_labels_and_pulls_to_the_classifiers_own_answer(batch):
    denoised, clean, sigma, network, _ = batch
    Objective(stability=1.0).loss(denoised, clean, sigma, network, None).backward()
    moved = denoised.detach() - 0.5 * denoised.grad
    own = network(clean).argmax(1)
    assert F.cross_entropy(network(moved), own) < F.cross_entropy(network(denoised.detach()), own)
