"""Our steps of AdamW beside those of PyTorch's own optimizer."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from trainers.training.optimizer import CosineAdamW

STEPS = 12


def a_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))


def set_gradients(model: nn.Module, step: int) -> None:
    model.zero_grad()
    rows_NF = torch.randn(7, 5, generator=torch.Generator().manual_seed(step))
    model(rows_NF).square().mean().backward()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [each.detach() for each in model.parameters()]


def test_it_steps_as_pytorchs_optimizer_with_its_cosine_schedule():
    ours, theirs = a_model(), a_model()
    mine = CosineAdamW(ours.parameters(), 0.05, 0.1, STEPS, fused=False)
    other = torch.optim.AdamW(theirs.parameters(), lr=0.05, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(other, T_max=STEPS)
    for step in range(STEPS):
        for model in (ours, theirs):
            set_gradients(model, step)
        assert mine.learning_rate == pytest.approx(schedule.get_last_lr()[0], rel=1e-12)
        mine.step()
        other.step()
        schedule.step()
        torch.testing.assert_close(weights(ours), weights(theirs))
    assert mine.learning_rate == pytest.approx(0.0, abs=1e-12)


def test_it_goes_on_from_its_state_to_the_same_bits():
    whole, cut, rest = a_model(), a_model(), a_model()
    straight = CosineAdamW(whole.parameters(), 0.05, 0.1, STEPS, fused=False)
    first = CosineAdamW(cut.parameters(), 0.05, 0.1, STEPS, fused=False)
    for step in range(STEPS):
        set_gradients(whole, step)
        straight.step()
    for step in range(5):
        set_gradients(cut, step)
        first.step()
    rest.load_state_dict(cut.state_dict())
    second = CosineAdamW(rest.parameters(), 0.05, 0.1, STEPS, fused=False)
    second.load_state_dict(first.state_dict())
    for step in range(5, STEPS):
        set_gradients(rest, step)
        second.step()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(rest), strict=True))


def test_a_parameter_without_a_gradient_is_left_alone():
    model = a_model()
    set_gradients(model, 0)
    last = model[2].weight
    last.grad = None
    before = [each.clone() for each in weights(model)]
    optimizer = CosineAdamW(model.parameters(), 0.05, 0.1, STEPS, fused=False)
    optimizer.step()
    same = [torch.equal(a, b) for a, b in zip(before, weights(model), strict=True)]
    assert same == [False, False, True, False]
    optimizer.zero_grad()
    assert all(each.grad is None for each in model.parameters())


def test_training_does_not_import_pytorchs_compiler():
    """It takes longer than the training of a small model."""
    code = (
        "import sys, torch\n"
        "import trainers.training.loop\n"
        "from trainers.training.optimizer import CosineAdamW\n"
        "weight = torch.nn.Parameter(torch.ones(3))\n"
        "weight.sum().backward()\n"
        "torch.nn.utils.clip_grad_norm_([weight], 1.0)\n"
        "CosineAdamW([weight], 0.1, 0.1, 2, fused=False).step()\n"
        "print(weight[0].item() < 1.0, 'torch._dynamo' in sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["True", "False"]


def test_a_step_without_any_gradient_changes_no_weight_and_counts():
    model = a_model()
    before = [each.clone() for each in weights(model)]
    optimizer = CosineAdamW(model.parameters(), 0.05, 0.1, 2, fused=False)
    optimizer.step()
    assert optimizer.learning_rate == pytest.approx(0.025)
    torch.testing.assert_close(weights(model), before, rtol=0, atol=0)
