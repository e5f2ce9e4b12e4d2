import pytest
import torch
from torch import nn

from dsmooth.errors import BadParameter
from dsmooth.training.plan import Plan


def test_the_cosine_warms_up_and_ends_at_zero():
    plan = Plan(steps=1000, lr=2.0)
    rates = [plan.rate(plan.progress(step, 0.0)) for step in range(1001)]
    assert 0.0 < rates[0] < 0.01
    assert max(rates) == pytest.approx(2.0, rel=0.01)
    assert rates.index(max(rates)) in range(19, 22)
    assert rates[500] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(0.0, abs=1e-12)
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_steps_of_the_paper():
    plan = Plan(steps=90, lr=1e-3, schedule="stepped")
    rates = [plan.rate(plan.progress(epoch, 0.0)) for epoch in range(90)]
    assert rates == pytest.approx([1e-3] * 30 + [1e-4] * 30 + [1e-5] * 30)
    switch = Plan(steps=90, optimizer="adam-then-sgd")
    turns = [switch.optimizer_at(switch.progress(epoch, 0.0)) for epoch in range(90)]
    assert turns == [0] * 50 + [1] * 40
    kinds = [type(optimizer) for optimizer in switch.optimizers([nn.Parameter(torch.zeros(1))], fused=False)]
    assert kinds == [torch.optim.Adam, torch.optim.SGD]


def test_minutes_take_the_place_of_steps():
    plan = Plan(minutes=2.0, lr=1.0)
    assert plan.progress(10**9, 60.0) == 0.5
    assert plan.progress(0, 500.0) == 1.0
    assert plan.rate(plan.progress(0, 60.0)) == pytest.approx(0.5)


def test_a_horizon_lays_the_rates_out_beyond_the_end():
    plan = Plan(steps=500, horizon=1000, lr=1.0)
    assert plan.rate(plan.progress(500, 0.0)) == pytest.approx(0.5)
    switch = Plan(steps=60, horizon=90, optimizer="adam-then-sgd")
    assert [switch.optimizer_at(switch.progress(epoch, 0.0)) for epoch in (49, 50, 60)] == [0, 1, 1]


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"average": 1.0}, {"minutes": 0.0},
     {"minutes": float("inf")}, {"clip": -1.0}, {"seed": -1}],
)  # fmt: skip
def test_impossible_plans_are_refused(changes):
    with pytest.raises(BadParameter):
        Plan(**changes)
