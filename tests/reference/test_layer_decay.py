"""Layer-wise learning rates, beside timm's own and a calculation by hand."""

import pytest
import torch
from torch import nn

from ruggedize.models import Classifier, create_model
from ruggedize.train.optim import FACTOR, Adam, AdamW, Sgd, optimiser_for, set_rate
from tests.fine_tuning import options_of
from tests.foreign import with_timm

CLASSES = ("a", "b", "c")


def classifier(name: str) -> Classifier:
    return create_model(options_of(model=name).model, CLASSES, 64, 64, 0)


def settings(optimiser: torch.optim.Optimizer) -> dict[int, tuple[float, float]]:
    """Return factor and weight decay of each parameter."""
    return {
        id(weight): (group.get(FACTOR, 1.0), group["weight_decay"])
        for group in optimiser.param_groups
        for weight in group["params"]
    }


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_byobnet", "test_convnext"])
def test_the_groups_of_timm_are_timms(name: str) -> None:
    with_timm()
    from timm.optim import param_groups_layer_decay

    model = classifier(f"timm/{name}")
    ours = settings(optimiser_for(model, AdamW(weight_decay=0.05), layer_decay=0.7))
    network = model.network
    exempt = network.no_weight_decay() if hasattr(network, "no_weight_decay") else ()
    theirs = param_groups_layer_decay(network, 0.05, exempt, layer_decay=0.7)
    expected = {
        id(weight): (group["lr_scale"], group["weight_decay"])
        for group in theirs
        for weight in group["params"]
    }
    assert ours.keys() == expected.keys()
    for weight, found in ours.items():
        assert found == pytest.approx(expected[weight])
    assert len({factor for factor, _ in ours.values()}) > 2


def test_a_step_of_each_layer_is_the_one_of_its_own_rate() -> None:
    """Oracle: plain SGD by hand. The layers of ResNet9 are its children."""
    model = classifier("resnet9")
    optimiser = optimiser_for(model, Sgd(lr=0.1, momentum=0, weight_decay=0), layer_decay=0.5)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    set_rate(optimiser, 0.1)
    optimiser.step()
    layers = [name for name, child in model.network.named_children() if list(child.parameters())]
    assert layers[-1] == "head"
    for name, weight in model.named_parameters():
        rate = 0.1 * 0.5 ** (len(layers) - 1 - layers.index(name.split(".")[1]))
        torch.testing.assert_close(weight.detach(), before[name] - rate)


def test_blocks_in_a_sequence_are_layers() -> None:
    model = classifier("wide_resnet")
    groups = settings(optimiser_for(model, Adam(), layer_decay=0.9))
    blocks = [module for module in model.modules() if type(module).__name__ == "PreActBlock"]
    found = [{groups[id(weight)][0] for weight in block.parameters()} for block in blocks]
    assert all(len(each) == 1 for each in found)
    rates = [next(iter(each)) for each in found]
    assert rates == sorted(set(rates))


@pytest.mark.parametrize("options", [Adam(), AdamW(), Sgd(bias_lr_factor=4.0)])
def test_without_decay_there_are_no_more_groups_than_before(options: Adam | AdamW | Sgd) -> None:
    groups = optimiser_for(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), options).param_groups
    assert len(groups) == (1 if isinstance(options, Adam) else 2)
