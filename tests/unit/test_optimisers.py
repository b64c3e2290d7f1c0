"""Weight decay and learning rate of each kind of weight."""

import pytest
import torch
from torch import nn

from ruggedize.train.optim import Adam, AdamW, Sgd, optimiser_for, set_rate


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def rates(options: Adam | AdamW | Sgd, lr: float) -> dict[int, set[float]]:
    """Return the learning rates in use, by the number of dimensions of the weights."""
    optimiser = optimiser_for(network(), options)
    set_rate(optimiser, lr)
    found: dict[int, set[float]] = {}
    for group in optimiser.param_groups:
        for weight in group["params"]:
            found.setdefault(min(weight.ndim, 2), set()).add(group["lr"])
    return found


@pytest.mark.parametrize("options", [Adam(), AdamW(), Sgd()])
def test_all_weights_have_the_same_learning_rate(options: Adam | AdamW | Sgd):
    assert rates(options, 0.25) == {1: {0.25}, 2: {0.25}}


def test_biases_can_have_a_higher_learning_rate():
    assert rates(Sgd(bias_lr_factor=64), 0.25) == {1: {16.0}, 2: {0.25}}


def test_weights_that_timm_exempts_from_decay_have_no_bias_rate(monkeypatch: pytest.MonkeyPatch):
    exempt = "ruggedize.train.fine_tuning.groups.undecayed_names"
    monkeypatch.setattr(exempt, lambda network: frozenset({"0.weight"}))
    assert rates(Sgd(bias_lr_factor=64), 0.25) == {1: {16.0}, 2: {0.25}}


@pytest.mark.parametrize("options", [AdamW(weight_decay=0.1), Sgd(weight_decay=0.1)])
def test_biases_and_batch_norm_do_not_decay(options: AdamW | Sgd):
    model = network()
    optimiser = optimiser_for(model, options)
    set_rate(optimiser, 0.1)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    decayed = {
        name
        for name, weight in model.named_parameters()
        if weight.abs().sum() < 0.9999 * (before[name].abs().sum())
    }
    assert decayed == {name for name, weight in model.named_parameters() if weight.ndim > 1}
