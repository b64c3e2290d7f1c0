"""A step that does not fit into memory is taken in parts; what will not fit is said beforehand."""

import dataclasses
import json
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ruggedize.chain import run
from ruggedize.data import ImageBatch
from ruggedize.models import Classifier, ResNet9Options, outline
from ruggedize.recipe import load_recipe
from ruggedize.runs import UserError
from ruggedize.training import memory_need
from ruggedize.training.feeding import batches_of_epoch
from ruggedize.training.job import Job
from ruggedize.training.loop import fit, fresh_state
from ruggedize.training.memory_need import Need, needed, refuse_too_large
from ruggedize.training.normalisation import divide_batch_norm
from ruggedize.training.objectives import Pair, Sums
from ruggedize.training.options import Adam, Ema, TrainingOptions
from ruggedize.training.state import Counters, State, load_newest_state
from ruggedize.training.step import divided, step
from tests.training_jobs import CLASSES, tiny_job
from tests.unit.test_state import FP32


def cramped(job: Job, most: int, *, in_backward: bool = False) -> Job:
    """Give a training that runs out of memory above this many images at a time."""

    def objective(model: nn.Module, pair: Pair) -> tuple[Tensor, Sums]:
        loss, sums = job.objective(model, pair)
        if len(pair.labels) <= most:
            return loss, sums
        if not in_backward:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        loss.register_hook(out_of_memory)
        return loss, sums

    return dataclasses.replace(job, objective=objective)


def out_of_memory(gradient: Tensor) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def frozen(job: Job) -> Job:
    """Keep batch norm out of it: its statistics then do not depend on the parts."""
    for module in job.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]
            module.eval()
            module.training = False
    return job


def one_step(job: Job) -> State:
    state = fresh_state(job)
    job.model.train()
    step(job, state, job.model, FP32, next(batches_of_epoch(job, 0, 0)))
    return state


@pytest.mark.parametrize("most", [8, 5, 2])
@pytest.mark.parametrize("in_backward", [False, True])
def test_the_parts_add_up_to_the_whole_step(tmp_path: Path, most: int, in_backward: bool) -> None:
    whole = one_step(frozen(tiny_job(tmp_path)))
    parts = one_step(cramped(frozen(tiny_job(tmp_path)), most, in_backward=in_backward))
    assert parts.counters.num_parts == {8: 2, 5: 4, 2: 8}[most]
    for name, value in whole.tensors().items():
        torch.testing.assert_close(parts.tensors()[name], value, rtol=1e-4, atol=1e-6, msg=name)
    other = one_step(frozen(tiny_job(tmp_path, weights_seed=2)))
    assert not torch.allclose(
        whole.tensors()["optimiser/0/momentum_buffer"],
        other.tensors()["optimiser/0/momentum_buffer"],
        rtol=1e-2,
    )


def test_the_failed_attempt_leaves_no_trace(tmp_path: Path) -> None:
    """Eight images at a time from the first: the same bits as eight after sixteen have failed."""
    planned = tiny_job(tmp_path)
    state = fresh_state(planned)
    state.counters.num_parts = 2
    planned.model.train()
    step(planned, state, planned.model, FP32, next(batches_of_epoch(planned, 0, 0)))
    halved = one_step(cramped(tiny_job(tmp_path), 8, in_backward=True))
    assert all(torch.equal(value, halved.tensors()[n]) for n, value in state.tensors().items())
    whole = one_step(tiny_job(tmp_path))
    name = next(name for name in whole.tensors() if name.endswith("running_mean"))
    assert not torch.equal(whole.tensors()[name], halved.tensors()[name])  # batch norm saw eight


def test_the_parts_are_kept_in_the_state_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fit(cramped(tiny_job(tmp_path, epochs=2), 8))
    said = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert said == [
        "teacher: out of memory at step 1; from here on each step is taken in 2 parts, and batch "
        "norm sees 8 images at a time"
    ]
    state = fresh_state(tiny_job(tmp_path, epochs=2))
    assert load_newest_state(state, tmp_path / "state")
    assert state.counters.num_parts == 2
    assert json.loads((tmp_path / "delivered.json").read_text())["parts"] == 2


def test_a_state_from_before_there_were_parts_is_one_part() -> None:
    assert Counters().num_parts == 1


def test_ghost_batches_are_divided_anew_and_never_below_two_images(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, ghost_batches=4)
    divide_batch_norm(job.model, job.options, job.accelerator)
    assert one_step(cramped(job, 8)).counters.num_parts == 2
    with pytest.raises(UserError, match="out of memory"):
        one_step(cramped(job, 7))


def test_where_even_the_smallest_part_is_too_large_the_cure_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"out of memory;\nlower teacher.batch_size \(now 16\)"):
        fit(cramped(tiny_job(tmp_path), 1))


@pytest.mark.parametrize(
    ("n", "asked", "fewest", "sizes"),
    [(16, 4, 2, [4] * 4), (7, 4, 2, [3, 2, 2]), (2, 8, 2, [2]), (16, 8, 6, [8, 8])],
)
def test_no_part_is_too_small_for_batch_norm(
    n: int, asked: int, fewest: int, sizes: list[int]
) -> None:
    pair = Pair(torch.zeros(n, 3, 4, 4, dtype=torch.uint8), None, torch.arange(n))
    parts = divided(pair, asked, fewest)
    assert [len(part.labels) for part in parts] == sizes
    assert torch.equal(torch.cat([part.labels for part in parts]), pair.labels)
    assert all(part.noisy is None and part.target is None for part in parts)


def test_activations_are_counted_as_a_hand_would(tmp_path: Path) -> None:
    """Two linear layers keep their inputs for the gradient: 768 and 5 numbers of four bytes.

    The ReLU keeps its result, which is the second layer's input; the loss keeps log
    probabilities and labels.
    """
    job = tiny_job(tmp_path)
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 5), nn.ReLU(), nn.Linear(5, 3))
    model = Classifier(
        network,
        architecture=job.options.model,
        classes=CLASSES,
        image_size=16,
        input_size=16,
    )
    need = needed(dataclasses.replace(job, model=model), FP32)
    kept = 4 * (768 + 5) + 4 * 3 + 8
    assert kept <= need.per_image <= kept + 8  # the loss may keep its weight a second time
    weights = 4 * (768 * 5 + 5 + 5 * 3 + 3)
    assert need.fixed == weights * (1 + 1 + 2)  # gradient; momentum; an average and the best


def test_too_little_memory_is_said_before_the_first_step_with_what_fits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = needed(tiny_job(tmp_path), FP32)
    monkeypatch.setattr(memory_need, "available_memory", lambda: need.total(10))
    with caplog.at_level(logging.WARNING):
        fit(tiny_job(tmp_path / "cramped", epochs=1))
    assert "teacher needs about" in caplog.text
    assert "lower teacher.batch_size to 10" in caplog.text
    caplog.clear()
    monkeypatch.setattr(memory_need, "available_memory", lambda: need.total(16))
    fit(tiny_job(tmp_path / "roomy", epochs=1))
    assert "needs about" not in caplog.text
    one, other = (tmp_path / x / "model.safetensors" for x in ("cramped", "roomy"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_weights_that_do_not_fit_are_refused_before_the_network_is_built(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TrainingOptions(model=ResNet9Options(width=8), averaging=Ema(), optimiser=Adam())
    weights = sum(weight.nbytes for weight in outline(options.model, 10).parameters())
    need = weights * (1 + 1 + 2 + 2)  # weights, gradients, Adam's two, an average and the best
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory_need, "available_memory", lambda: need)
    refuse_too_large(name, options, 10, cpu)
    monkeypatch.setattr(memory_need, "available_memory", lambda: need - 1)
    with pytest.raises(UserError, match=f"{name}.model has .* weights.*\n.*smaller {name}.model"):
        refuse_too_large(name, options, 10, cpu)
    refuse_too_large(name, options, 10, torch.device("cuda"))  # it says itself when it is full


def test_a_run_with_a_student_beyond_all_memory_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_need, "available_memory", lambda: 1 << 30)
    recipe = load_recipe("demo", ("student.model={name='resnet9', width=512}",))
    with pytest.raises(UserError, match=r"student.model has .* weights"):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_refresh_takes_as_many_images_as_a_part_has(tmp_path: Path) -> None:
    job, seen = tiny_job(tmp_path, epochs=1), []

    def refresh_views(part: ImageBatch) -> Tensor:
        seen.append(len(part))
        return job.refresh_views(part)

    fit(dataclasses.replace(cramped(job, 8), refresh_views=refresh_views))
    assert max(seen) == 8
    seen.clear()
    whole = dataclasses.replace(job, folder=tmp_path / "whole", refresh_views=refresh_views)
    fit(whole)
    assert max(seen) == 16


@pytest.mark.parametrize(("batch_size", "n"), [(2, 5), (2, 7), (16, 17)])
def test_the_refresh_never_shows_batch_norm_a_single_image(
    tmp_path: Path, batch_size: int, n: int
) -> None:
    job, seen = tiny_job(tmp_path, epochs=1, batch_size=batch_size), []

    def refresh_views(part: ImageBatch) -> Tensor:
        seen.append(len(part))
        return job.refresh_views(part)

    few = job.train.take(range(n))
    fit(dataclasses.replace(job, train=few, refresh_views=refresh_views))
    assert min(seen) >= 2
    assert sum(seen) == 2 * n  # at the epoch's end, and for what is delivered


def test_a_model_that_fits_no_batch_at_all_is_to_be_smaller() -> None:
    assert Need(fixed=100, per_image=10).largest_batch(99) == 0
    assert Need(fixed=100, per_image=10).largest_batch(139) == 3
