import pytest
import torch
from torch import nn

from dsmooth.errors import BadParameter
from dsmooth.training.optimizers import optimizers
from dsmooth.training.plan import TrainingPlan


def test_the_cosine_warms_up_and_ends_at_zero():
    plan = TrainingPlan(steps=1000, lr=2.0)
    rates = [plan.rate(plan.progress(step, 0.0)) for step in range(1001)]
    assert 0.0 < rates[0] < 0.01
    assert max(rates) == pytest.approx(2.0, rel=0.01)
    assert rates.index(max(rates)) in range(19, 22)
    assert rates[500] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(0.0, abs=1e-12)
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_steps_of_the_paper():
    plan = TrainingPlan(steps=90, lr=1e-3, schedule="stepped")
    rates = [plan.rate(plan.progress(epoch, 0.0)) for epoch in range(90)]
    assert rates == pytest.approx([1e-3] * 30 + [1e-4] * 30 + [1e-5] * 30)
    switch = TrainingPlan(steps=90, optimizer="adam-then-sgd")
    turns = [switch.moving_at(switch.progress(epoch, 0.0)) for epoch in range(90)]
    assert turns == [slice(0, 1)] * 50 + [slice(1, 2)] * 40
    kinds = [type(optimizer) for optimizer in optimizers(switch, [nn.Parameter(torch.zeros(1))], fused=False)]
    assert kinds == [torch.optim.Adam, torch.optim.SGD]


def test_a_line_falls_evenly():
    plan = TrainingPlan(steps=1000, lr=2.0, schedule="linear")
    rates = [plan.rate(plan.progress(step, 0.0)) for step in (250, 500, 750, 1000)]
    assert rates == pytest.approx([1.5, 1.0, 0.5, 0.0])


def test_muon_moves_the_convolutions_inside_and_adamw_the_rest():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 3), nn.Linear(3, 2)
    )
    plan = TrainingPlan(optimizer="muon")
    muon, adamw = optimizers(plan, network.parameters(), fused=False)
    moved = {id(weight) for group in muon.param_groups for weight in group["params"]}
    assert moved == {id(network[1].weight)}
    rest = {id(weight) for group in adamw.param_groups for weight in group["params"]}
    assert moved | rest == {id(weight) for weight in network.parameters()}
    assert [muon, adamw][plan.moving_at(0.9)] == [muon, adamw]


def test_minutes_take_the_place_of_steps():
    plan = TrainingPlan(minutes=2.0, lr=1.0)
    assert plan.progress(10**9, 60.0) == 0.5
    assert plan.progress(0, 500.0) == 1.0
    assert plan.rate(plan.progress(0, 60.0)) == pytest.approx(0.5)


def test_a_horizon_lays_the_rates_out_beyond_the_end():
    plan = TrainingPlan(steps=500, horizon=1000, lr=1.0)
    assert plan.rate(plan.progress(500, 0.0)) == pytest.approx(0.5)
    switch = TrainingPlan(steps=60, horizon=90, optimizer="adam-then-sgd")
    turns = [switch.moving_at(switch.progress(epoch, 0.0)) for epoch in (49, 50, 60)]
    assert turns == [slice(0, 1), slice(1, 2), slice(1, 2)]


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"average": 1.0}, {"minutes": 0.0},
     {"minutes": float("inf")}, {"clip": -1.0}, {"seed": -1}],
)  # fmt: skip
def test_impossible_plans_are_refused(changes):
    with pytest.raises(BadParameter):
        TrainingPlan(**changes)
