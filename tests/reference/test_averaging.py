"""Averages against means of saved snapshots, and batch norm's refresh against plain sums."""

import copy

import pytest
import torch
from torch import nn

from ruggedize.training.averaging import Average, averaged_copy, refresh_batch_norm
from ruggedize.training.options import Ema, Swa

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


def test_ema_follows_its_recurrence_after_a_plain_mean_at_first() -> None:
    model = small_net()
    average = Average(model, Ema(decay=0.9), NUM_STEPS)
    snapshots = wander(model, average)
    expected = torch.zeros_like(snapshots[0][0]).double()
    for k, weights in enumerate(snapshots):
        share = max(1 / (k + 1), 0.1)
        expected = (1 - share) * expected + share * weights[0].double()
    torch.testing.assert_close(average.weights[0], expected.float())


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
