"""Ghost batch norm equals batch norm on separate batches, in every network."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from pydantic import ValidationError
from torch import nn

from ruggedize.core.errors import UserError
from ruggedize.models import CustomModel, create_model, save_model
from ruggedize.models.batch_norm import (
    GhostBatchNorm,
    SynchronisedBatchNorm,
    batch_norms,
    replace_batch_norm,
)
from ruggedize.models.nets.airbench import ShiftingBatchNorm
from ruggedize.models.options import (
    AirbenchOptions,
    ModelOptions,
    PreActResNet18Options,
    ResNet9Options,
    ResNet50V2Options,
    WideResNetOptions,
)
from ruggedize.train.average import refresh_batch_norm
from ruggedize.train.division import divide_batch_norm, reject_division
from ruggedize.train.options import TrainingOptions
from tests.tiny_stages import CLASSES

NETWORKS = [
    ResNet9Options(width=8),
    AirbenchOptions(width=8),
    PreActResNet18Options(width=8),
    WideResNetOptions(depth=10, width=1),
    ResNet50V2Options(),
]
LAYERS = [nn.BatchNorm2d(3, eps=0.1, momentum=0.3), ShiftingBatchNorm(3, momentum=0.4)]
KINDS = {"ghost": partial(GhostBatchNorm, num_groups=2), "synchronised": SynchronisedBatchNorm}
FP32 = torch.autocast("cpu", torch.bfloat16, enabled=False)
OPTIONS = {"model": "resnet9", "batch_size": 8}


def features(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.5, 3.0, n)[:, None, None, None]
    return torch.randn(n, 3, 4, 4, generator=generator) * scale + scale


def model_of(options: ModelOptions) -> nn.Module:
    size = 64 if options.name == "resnet50v2" else 16
    images = torch.randint(0, 256, (20, 3, size, size), dtype=torch.uint8)
    return create_model(options, CLASSES, size, size, seed=0, images=images)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", NETWORKS, ids=lambda options: options.name)
def test_names_weights_and_files_do_not_change(
    options: ModelOptions, kind: str, tmp_path: Path
) -> None:
    model = model_of(options)
    weights, before = list(model.parameters()), model.state_dict()
    number = len(batch_norms(model))
    save_model(model, tmp_path / "before.safetensors")
    replace_batch_norm(model, KINDS[kind])
    assert len(batch_norms(model)) == number > 0
    wanted = GhostBatchNorm if kind == "ghost" else SynchronisedBatchNorm
    assert all(isinstance(layer, wanted) for layer in batch_norms(model))
    assert all(a is b for a, b in zip(weights, model.parameters(), strict=True))
    assert list(model.state_dict()) == list(before)
    save_model(model, tmp_path / "after.safetensors")
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("before", "after")]
    assert files[0] == files[1]


@pytest.mark.parametrize("plain", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize(("n", "sizes"), [(8, [4, 4]), (7, [4, 3])])
def test_groups_are_normalised_as_separate_batches(
    plain: nn.BatchNorm2d, n: int, sizes: list[int]
) -> None:
    batch = features(n).to(memory_format=torch.channels_last)
    alone = [copy.deepcopy(plain) for _ in sizes]
    expected = torch.cat([layer(p) for layer, p in zip(alone, batch.split(sizes), strict=True)])
    network = nn.Sequential(copy.deepcopy(plain))
    replace_batch_norm(network, KINDS["ghost"])
    found = network(batch)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for name, value in network[0].state_dict().items():  # the first part's, updated once
        torch.testing.assert_close(value, alone[0].state_dict()[name])
    assert not torch.allclose(found, copy.deepcopy(plain)(batch), atol=0.1)  # must differ


@pytest.mark.parametrize("plain", LAYERS, ids=lambda layer: type(layer).__name__)
def test_gradients_are_the_sums_over_the_groups(plain: nn.BatchNorm2d) -> None:
    batch, network = features(8), nn.Sequential(copy.deepcopy(plain))
    alone = copy.deepcopy(plain)
    replace_batch_norm(network, KINDS["ghost"])
    network(batch).pow(3).sum().backward()
    for part in batch.split(4):
        alone(part).pow(3).sum().backward()
    for (name, weight), other in zip(
        network[0].named_parameters(), alone.parameters(), strict=True
    ):
        torch.testing.assert_close(weight.grad, other.grad, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_and_refresh_do_not_split_batches(kind: str) -> None:
    plain = nn.Sequential(nn.BatchNorm2d(3))
    other = copy.deepcopy(plain)
    replace_batch_norm(other, KINDS[kind])
    batches = [features(6, seed) for seed in range(3)]
    for network in (plain, other):
        refresh_batch_norm(network, batches, FP32)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
    assert torch.equal(plain.eval()(batches[0]), other.eval()(batches[0]))


class WithoutBatchNorm(CustomModel):
    def layout(self, num_classes: int) -> nn.Module:
        return nn.Linear(3, num_classes)


def test_a_network_without_batch_norm_is_rejected() -> None:
    accelerator = Accelerator(cpu=True)
    reject_division("teacher", TrainingOptions(model=WithoutBatchNorm()), accelerator)
    options = TrainingOptions(model=WithoutBatchNorm(), ghost_batches=2)
    with pytest.raises(UserError, match="need batch norm"):
        reject_division("teacher", options, accelerator)


def test_a_single_ghost_batch_does_not_change_the_network() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3))
    layer = network[0]
    options = TrainingOptions.model_validate(OPTIONS)
    divide_batch_norm(network, options, Accelerator(cpu=True))
    assert network[0] is layer


def test_synchronised_batch_norm_is_rejected_on_a_cpu() -> None:
    options = TrainingOptions.model_validate(OPTIONS | {"sync_batch_norm": True})
    with pytest.raises(
        UserError, match=r"student\.sync_batch_norm needs several GPUs, .* on a CPU"
    ):
        reject_division("student", options, Accelerator(cpu=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ghost_batches": 5}, "must be at most 4 .*, got 5"),
        ({"ghost_batches": 2, "sync_batch_norm": True}, "remove one of them"),
        ({"ghost_batches": 0}, "greater than or equal to 1"),
    ],
)
def test_invalid_divisions_are_rejected(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingOptions.model_validate(OPTIONS | changes)
