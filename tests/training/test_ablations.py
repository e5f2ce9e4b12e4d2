"""The rows of the ablation table, which takes hours to train."""

from dataclasses import asdict

import pytest
import torch

from dsmooth.denoisers.loading import build
from dsmooth.denoisers.unet import UNet
from dsmooth.training.objectives import Objective
from recipes.cifar10_ablations import BASE, ROWS, recipe


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_recipe_that_differs_in_what_it_says(name):
    chosen, base = asdict(recipe(name)), asdict(BASE)
    assert {key for key in chosen if chosen[key] != base[key]} == set(ROWS[name])
    with torch.device("meta"):
        network = build(chosen["architecture"], chosen["config"])
    assert isinstance(network, UNet)
    assert bool(network.classes) == (Objective.parse(chosen["objective"]).head > 0)
    assert recipe(name).judged_at == [0.25]


def test_rows_differ():
    assert next(iter(ROWS)) == "base"
    assert ROWS["base"] == {}
    assert len({str(asdict(recipe(name))) for name in ROWS}) == len(ROWS) >= 15
