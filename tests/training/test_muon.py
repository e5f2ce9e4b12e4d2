import pytest
import torch
from torch import nn

from dsmooth.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (1, 5)])
def test_singular_values_become_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    matrix *= 1e-4  # momentum has any size
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix).float()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5
    assert values.max() < 1.4
    nearest = u @ v
    assert torch.nn.functional.cosine_similarity(found.flatten(), nearest.flatten(), dim=0) > 0.95


def test_nothing_to_follow_is_no_step():
    assert torch.equal(orthogonal(torch.zeros(4, 6)), torch.zeros(4, 6, dtype=torch.bfloat16))


def test_a_step_is_the_size_of_adamws_and_weights_decay_apart_from_it():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(32, 16, 3, 3))
    before = weight.detach().clone()
    weight.grad = 1e3 * torch.randn_like(weight)
    Muon([weight], lr=0.01, weight_decay=0.5).step()
    moved = weight.detach() - before * (1 - 0.01 * 0.5)
    assert moved.square().mean().sqrt() == pytest.approx(0.01 * 0.2, rel=0.2)


def test_momentum_goes_on_from_a_checkpoint():
    def trained(stop):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(6, 4, 3, 3))
        muon = Muon([weight], lr=0.1)
        for step in range(6):
            if step == stop:
                held = muon.state_dict()
                muon = Muon([weight], lr=0.1)
                muon.load_state_dict(held)
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
            muon.step()
        return weight

    assert torch.equal(trained(3), trained(None))


def test_it_descends():
    torch.manual_seed(0)
    weight, target = nn.Parameter(torch.zeros(8, 8)), torch.randn(8, 8)
    muon = Muon([weight], lr=0.1)
    losses = []
    for _ in range(300):
        muon.zero_grad()
        value = (weight - target).square().mean()
        value.backward()
        muon.step()
        losses.append(float(value.detach()))
    assert losses[-1] < 0.05 * losses[0]
