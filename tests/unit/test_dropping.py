"""Dropout and stochastic depth depend on the step and the image, and on nothing else."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ruggedize.kernels.draws import mix64
from ruggedize.models import create_model, keyed_rows
from ruggedize.models.dropping import RowKeys, drop_branches, drop_values, mixed
from ruggedize.models.options import PreActResNet18Options, WideResNetOptions
from ruggedize.train.objectives.averaged_teacher import AveragedTeacher
from ruggedize.train.step import keyed_draws
from tests.reference.test_objectives import context
from tests.tiny_stages import tiny_stage
from tests.unit.test_microbatches import steps

DROPS = {"dropout": 0.3, "stochastic_depth": 0.4}
OPTIONS = {
    "wide_resnet": WideResNetOptions(depth=10, width=1, **DROPS),
    "preact_resnet18": PreActResNet18Options(width=8, **DROPS),
}


@pytest.fixture
def images(small_images: Tensor) -> Tensor:
    return small_images[:12].float() / 127.5 - 1


def masks(images: Tensor, key: int = 1, number: int = 3, rate: float = 0.3) -> list[Tensor]:
    keys = RowKeys()
    with keyed_rows(torch.nn.Sequential(keys, torch.nn.Linear(1, 1)), key):
        rows = keys(images)
    ones = torch.ones(len(images), 5, 7, 3)
    return [drop(ones, rows, number, rate) for drop in (drop_values, drop_branches)]


def test_the_hash_is_that_of_the_kernels() -> None:
    values = np.random.default_rng(0).integers(-(2**63), 2**63, 100)
    expected = np.array([mix64(np.uint64(v % 2**64)) for v in values.tolist()], np.uint64)
    assert torch.equal(mixed(torch.from_numpy(values)), torch.from_numpy(expected.view(np.int64)))


def test_masks_do_not_depend_on_the_batch(images: Tensor) -> None:
    for whole, *parts in zip(
        masks(images), masks(images[:1]), masks(images[1:5]), masks(images[5:]), strict=True
    ):
        assert torch.equal(whole, torch.cat(parts))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(masks(images)[0][order], masks(images[order])[0])
    layout = images.to(memory_format=torch.channels_last)
    assert torch.equal(masks(images)[0], masks(layout)[0])


def test_masks_depend_on_step_layer_and_image(images: Tensor) -> None:
    base = masks(images)[0]
    slightly = images.clone()
    slightly[:, 0, 0, 0] += 2 / 127.5
    for other in (masks(images, key=2), masks(images, number=4), masks(slightly)):
        assert (base == other[0]).float().mean() < 0.7  # 0.58 by chance
    assert not torch.equal(base[0], base[1])


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.7])
def test_as_many_are_dropped_as_the_rate_says_and_the_mean_stays(rate: float) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4000, 3, 4, 4, generator=generator)
    for mask, tolerance in zip(masks(images, rate=rate), (0.005, 0.035), strict=True):
        assert (mask == 0).float().mean() == pytest.approx(rate, abs=tolerance)
        assert mask.mean() == pytest.approx(1, abs=5 * tolerance)
        assert mask.unique().numel() == (2 if rate else 1)
    values, branches = masks(images, rate=0.5)
    assert len(branches.flatten(1).std(1).unique()) == 1, "part of a branch was dropped"
    pairs = values.flatten(1)
    assert abs(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1]) < 0.08
    assert abs(np.corrcoef(pairs[0], pairs[1])[0, 1]) < 0.5


@pytest.mark.parametrize("name", OPTIONS)
def test_networks_drop_in_training_only(name: str, small_images: Tensor) -> None:
    options = OPTIONS[name]
    model = create_model(options, ("a", "b"), 32, 32, 0)
    whole = options.model_copy(update={"dropout": 0.0, "stochastic_depth": 0.0})
    other = create_model(whole, ("a", "b"), 32, 32, 0)
    assert model.state_dict().keys() == other.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(model.eval()(small_images), other.eval()(small_images))
        model.train(), other.train()
        with keyed_rows(model, 2**64 - 1):
            first, again = model(small_images), model(small_images)
            inside = copy.deepcopy(model)
        with keyed_rows(model, 6):
            second = model(small_images)
        outside = model(small_images)
        assert torch.equal(first, again)
        assert torch.equal(inside(small_images), outside), "a copy kept the step's key"
        assert not torch.allclose(first, second)
        assert not torch.allclose(first, outside)
        assert not torch.allclose(first, other(small_images))


def test_the_rate_of_dropped_branches_grows_linearly() -> None:
    model = create_model(OPTIONS["preact_resnet18"], ("a", "b"), 32, 32, 0)
    rates = [block.drop_rate for blocks in model.network.stages for block in blocks]
    assert rates == pytest.approx([0.05 * number for number in range(1, 9)])


def test_the_semi_supervised_network_has_leaky_activations() -> None:
    options = WideResNetOptions(depth=28, width=2, negative_slope=0.1)
    model = create_model(options, tuple("abcdefghij"), 32, 32, 0)
    assert sum(weight.numel() for weight in model.parameters()) == 1_467_610
    slopes = [m.negative_slope for m in model.modules() if isinstance(m, torch.nn.LeakyReLU)]
    assert slopes == [0.1] * 25
    assert not any(isinstance(module, torch.nn.ReLU) for module in model.modules())


def test_microbatches_do_not_change_what_is_dropped(tmp_path: Path) -> None:
    model = {"name": "preact_resnet18", "width": 8, **DROPS}
    common = {"model": model, "ghost_batches": 4}
    whole = steps(tiny_stage(tmp_path, **common)).tensors()
    parts = steps(tiny_stage(tmp_path, microbatches=4, **common)).tensors()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5, msg=name)
    kept = {**model, "dropout": 0.0, "stochastic_depth": 0.0}
    other = steps(tiny_stage(tmp_path, **{**common, "model": kept})).tensors()
    name = next(name for name in whole if name.endswith("head.weight"))
    assert not torch.allclose(whole[name], other[name], rtol=1e-2)


def test_the_masks_of_a_step_follow_from_the_seed_and_the_step(tmp_path: Path) -> None:
    model = {"name": "wide_resnet", "depth": 10, "width": 1, **DROPS}
    stage = tiny_stage(tmp_path, model=model)
    keys = next(module for module in stage.model.modules() if isinstance(module, RowKeys))
    seen = []
    for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0)):
        with keyed_draws(replace(stage, seed=seed), step):
            seen.append(int(keys.step_key))
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    assert keys.step_key is None


@torch.no_grad()
def test_the_averaged_teacher_drops_nothing_and_normalises_by_the_batch() -> None:
    norm, head = nn.BatchNorm2d(3), nn.Linear(3 * 16 * 16, 4)
    student = nn.Sequential(norm, nn.Dropout(0.5), nn.Flatten(), head).train()
    teacher = AveragedTeacher(context(student), 0.9)
    views = torch.rand(8, 3, 16, 16)
    expected = head(nn.functional.batch_norm(views, None, None, training=True).flatten(1))
    torch.testing.assert_close(teacher.logits([views])[0], expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(student(views), expected, atol=1e-2)
