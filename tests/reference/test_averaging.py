"""Averages against means of saved snapshots, and batch norm's refresh against plain sums."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ruggedize.train.average import (
    Average,
    averaged_copy,
    decay_after,
    reachable_decay,
    refresh_batch_norm,
    updates_for,
)
from ruggedize.train.batches import batches_of_epoch
from ruggedize.train.checkpoint import State
from ruggedize.train.delivery import refresh
from ruggedize.train.loop import fresh_state
from ruggedize.train.optim import Ema, Swa
from ruggedize.train.stage import Stage
from ruggedize.train.step import step as take_step
from ruggedize.train.validate import outcomes, score
from tests.tiny_stages import three_colours, tiny_stage

NUM_STEPS = 40
FP32 = torch.autocast("cpu", torch.bfloat16, enabled=False)


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
    )


def wander(model: nn.Module, average: Average) -> list[list[torch.Tensor]]:
    """Change the weights step by step and keep every snapshot."""
    generator = torch.Generator().manual_seed(7)
    snapshots = []
    for step in range(1, NUM_STEPS + 1):
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
        average.update(model, step)
        snapshots.append([p.detach().clone() for p in model.parameters()])
    return snapshots


@pytest.mark.parametrize(("start", "every"), [(0.0, 10), (0.5, 3), (0.75, 1)])
def test_swa_is_the_mean_of_its_snapshots(start: float, every: int) -> None:
    model = small_net()
    average = Average(model, Swa(start=start, every=every), NUM_STEPS)
    snapshots = wander(model, average)
    first = int(start * NUM_STEPS)
    taken = [
        weights for s, weights in enumerate(snapshots, 1) if s > first and not (s - first) % every
    ]
    assert average.num_snapshots == len(taken) > 1
    for ours, *theirs in zip(average.weights, *taken, strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs).double().mean(0).float())


def test_the_average_is_not_the_last_snapshot_nor_does_it_hold_the_initial_weights() -> None:
    model = small_net()
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(1e6)
    average = Average(model, Swa(start=0.0, every=10), NUM_STEPS)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    snapshots = wander(model, average)
    assert all(weight.abs().max() < 10 for weight in average.weights)
    assert not torch.allclose(average.weights[0], snapshots[-1][0])


def test_ema_follows_its_recurrence_with_a_warm_up() -> None:
    model = small_net()
    average = Average(model, Ema(decay=0.75), NUM_STEPS)
    snapshots = wander(model, average)
    expected = snapshots[0][0].double()
    fixed = plain = expected
    for t, weights in enumerate(snapshots[1:], 1):
        decay = min(0.75, (1 + t) / (10 + t))  # 0.75 from t = 26 on
        expected = decay * expected + (1 - decay) * weights[0].double()
        fixed = 0.75 * fixed + 0.25 * weights[0].double()
        share = max(1 / (t + 1), 0.25)
        plain = (1 - share) * plain + share * weights[0].double()
    torch.testing.assert_close(average.weights[0], expected.float())
    assert not torch.allclose(average.weights[0], fixed.float(), atol=1e-4)
    assert not torch.allclose(average.weights[0], plain.float(), atol=1e-4)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_an_ema_s_first_snapshot_is_copied_whole(start: float) -> None:
    model = small_net()
    average = Average(model, Ema(decay=0.9, start=start), NUM_STEPS)
    assert average.last_decay() is None
    first = int(start * NUM_STEPS) + 1
    for step in range(1, first + 1):
        with torch.no_grad():
            for weight in model.parameters():
                weight.fill_(step)
        average.update(model, step)
    assert all((weight == first).all() for weight in average.weights)
    assert average.last_decay() == 0
    average.update(model, first + 1)
    assert average.last_decay() == 2 / 11


@pytest.mark.parametrize(("decay", "updates"), [(0.75, 27), (0.98, 441), (0.99, 891), (0.05, 1)])
def test_a_decay_is_reached_with_the_update_that_is_named(decay: float, updates: int) -> None:
    assert updates_for(decay) == updates
    if updates > 1:
        assert decay_after(decay, updates - 1) == pytest.approx(decay)
        assert decay_after(decay, updates - 2) < decay


@given(st.integers(1, 10**7))
def test_the_decay_that_is_suggested_is_reached_and_hardly_lower_than_it_could_be(
    num_updates: int,
) -> None:
    decay = reachable_decay(num_updates)
    assert updates_for(decay) <= num_updates
    assert 0 < decay < 1
    assert num_updates < 3 or updates_for(decay) > 0.8 * num_updates


def trained_with_both_rules(folder: Path, decay: float) -> tuple[Stage, State, list[torch.Tensor]]:
    """Train for forty steps and also average by the earlier rule, as slowly as it can be said.

    That rule was a plain mean until 1 / (steps so far) fell to 1 - decay.
    """
    averaging = {"kind": "ema", "decay": decay}
    stage = tiny_stage(folder, epochs=10, averaging=averaging)
    stage = dataclasses.replace(stage, validation=three_colours(300, 1))
    state = fresh_state(stage)
    earlier = [torch.zeros_like(weight) for weight in stage.model.parameters()]
    stage.model.train()
    for epoch in range(stage.options.epochs):
        for batch in batches_of_epoch(stage, epoch, 0):
            take_step(stage, state, stage.model, FP32, batch)
            assert state.average
            state.average.update(stage.model, batch.step + 1)
            share = max(1 / (batch.step + 1), 1 - decay)
            for mean, weight in zip(earlier, stage.model.parameters(), strict=True):
                mean.copy_((1 - share) * mean + share * weight.detach())
    return stage, state, earlier


def test_an_average_of_a_short_training_is_not_held_back_by_early_weights(tmp_path: Path) -> None:
    stage, state, earlier = trained_with_both_rules(tmp_path, decay=0.999)

    def loss_of(weights: list[torch.Tensor]) -> float:
        network = copy.deepcopy(stage.model)
        with torch.no_grad():
            for own, weight in zip(network.parameters(), weights, strict=True):
                own.copy_(weight)
        refresh(stage, network, FP32, stage.num_images)
        found = outcomes(network, stage.validation, stage.model, FP32, stage.accelerator)
        return score(found, stage.accelerator).loss

    assert state.average
    raw = loss_of([weight.detach() for weight in stage.model.parameters()])
    assert loss_of(earlier) > 2 * raw  # the fault
    assert loss_of(state.average.weights) < 1.25 * raw


def test_refreshed_statistics_are_the_mean_over_batches() -> None:
    model = small_net()
    batches = [
        torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(5)
    ]
    refresh_batch_norm(model, batches, FP32)
    activations = [model[0](batch).detach() for batch in batches]
    means = torch.stack([a.mean((0, 2, 3)) for a in activations]).mean(0)
    variances = torch.stack([a.transpose(0, 1).flatten(1).var(1) for a in activations]).mean(0)
    torch.testing.assert_close(model[1].running_mean, means)
    torch.testing.assert_close(model[1].running_var, variances)


def test_the_refresh_leaves_training_weights_modes_and_random_state_alone() -> None:
    model = small_net()
    average = Average(model, Swa(start=0.0, every=1), NUM_STEPS)
    wander(model, average)
    before = copy.deepcopy(model.state_dict())
    model.train()
    random_state = torch.get_rng_state()
    twin = averaged_copy(model, average)
    refresh_batch_norm(twin, [torch.ones(4, 3, 8, 8), torch.zeros(4, 3, 8, 8)], FP32)
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(module.training for module in twin.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not torch.equal(twin[1].running_var, model[1].running_var)  # it bites


def test_without_a_refresh_the_statistics_would_be_wrong() -> None:
    model = small_net()
    average = Average(model, Swa(start=0.0, every=1), NUM_STEPS)
    wander(model, average)
    batch = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    stale = averaged_copy(model, average)
    fresh = averaged_copy(model, average)
    refresh_batch_norm(fresh, [batch], FP32)
    activation = fresh[0](batch).detach().mean((0, 2, 3))
    assert torch.allclose(fresh[1].running_mean, activation, atol=1e-5)
    assert not torch.allclose(stale[1].running_mean, activation, atol=1e-2)


def test_two_processes_share_their_statistics_weighted_by_batches() -> None:
    batches = [
        torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(3)
    ]
    alone = small_net()
    refresh_batch_norm(alone, batches, FP32)
    other = small_net()
    refresh_batch_norm(other, batches[2:], FP32)
    theirs = [
        torch.cat([s * 1, torch.ones(1)]) for s in (other[1].running_mean, other[1].running_var)
    ]
    shared = small_net()
    arriving = iter(theirs)
    refresh_batch_norm(shared, batches[:2], FP32, lambda mine: mine + next(arriving))
    torch.testing.assert_close(shared[1].running_mean, alone[1].running_mean)
    torch.testing.assert_close(shared[1].running_var, alone[1].running_var)
