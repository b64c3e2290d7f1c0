"""Micro-batches save memory and do not change results; out of memory is an error with a fix."""

import dataclasses
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.models import ResNet9Options, meta_model
from ruggedize.pipeline import run
from ruggedize.recipe import load_recipe
from ruggedize.train import preflight
from ruggedize.train.batches import batches_of_epoch
from ruggedize.train.checkpoint import State
from ruggedize.train.division import divide_batch_norm
from ruggedize.train.loop import fit, fresh_state
from ruggedize.train.objectives.objective import Batch, grouped
from ruggedize.train.optim import Adam, Ema
from ruggedize.train.options import TrainingOptions
from ruggedize.train.preflight import reject_too_large
from ruggedize.train.stage import Stage
from ruggedize.train.step import step
from ruggedize.views import ViewMaker
from tests.tiny_stages import Terms, altered, checked, num_images, tiny_stage
from tests.unit.test_state import FP32


def steps(stage: Stage, number: int = 2) -> State:
    """Run some steps with batch norm divided as the options say.

    After more of them, a rounding difference can change the sign of a value before a ReLU.
    """
    divide_batch_norm(stage.model, stage.options, stage.accelerator)
    state = fresh_state(stage)
    stage.model.train()
    batches = batches_of_epoch(stage, 0, 0)
    for _ in range(number):
        step(stage, state, stage.model, FP32, next(batches))
    return state


@pytest.mark.parametrize("microbatches", [2, 4])
@pytest.mark.parametrize("batch_size", [16, 18])  # 18: ghost batches of 5, 5, 4 and 4 images
def test_microbatches_change_no_result(tmp_path: Path, microbatches: int, batch_size: int) -> None:
    common = {"ghost_batches": 4, "batch_size": batch_size}
    whole = steps(tiny_stage(tmp_path, **common)).tensors()
    parts = steps(tiny_stage(tmp_path, microbatches=microbatches, **common)).tensors()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-6, msg=name)
    other = steps(tiny_stage(tmp_path, batch_size=batch_size)).tensors()  # no ghost batches
    key = next(name for name in whole if name.endswith("running_mean"))
    assert not torch.allclose(whole[key], other[key], rtol=1e-2)


def test_no_more_than_a_microbatch_is_computed_at_a_time(tmp_path: Path) -> None:
    seen: list[int] = []

    def change(terms: Terms, batch: Batch) -> Terms:
        seen.append(num_images(batch))
        return terms

    steps(altered(tiny_stage(tmp_path, ghost_batches=4, microbatches=4), change), 1)
    assert seen == [4, 4, 4, 4]


def test_micro_batches_hold_whole_ghost_batches() -> None:
    images = torch.arange(18)
    ghosts = [part.tolist() for part in images.tensor_split(4)]
    halves = grouped(images, 2, 2)
    assert [half.tolist() for half in halves] == [ghosts[0] + ghosts[1], ghosts[2] + ghosts[3]]
    divided = [part.tolist() for half in halves for part in half.tensor_split(2)]
    assert divided == ghosts


def test_a_network_without_batch_norm_needs_no_ghost_batches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    found = []
    for microbatches in (1, 4):
        stage = tiny_stage(tmp_path, microbatches=microbatches)
        stage.model.network = network
        before = [weight.detach().clone() for weight in network.parameters()]
        found.append(steps(stage, 1).tensors())
        for weight, kept in zip(network.parameters(), before, strict=True):
            weight.data.copy_(kept)
    for name, value in found[0].items():
        if not name.startswith("model/"):
            torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_batch_norm_is_not_split_silently(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"batch norm normalises;\n.*set ghost_batches = 2"):
        checked(tiny_stage(tmp_path, microbatches=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ghost_batches": 4, "microbatches": 3}, "does not divide ghost_batches"),
        ({"sync_batch_norm": True, "microbatches": 2}, "remove one of them"),
    ],
)
def test_impossible_divisions_are_rejected(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingOptions.model_validate({"model": "resnet9"} | changes)


def cramped(stage: Stage, most: int) -> Stage:
    """Run out of memory above this many images at a time."""

    def change(terms: Terms, batch: Batch) -> Terms:
        if num_images(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return terms

    return altered(stage, change)


def test_a_step_that_does_not_fit_is_an_error_that_names_microbatches(tmp_path: Path) -> None:
    words = r"(?s)out of memory;\nset teacher.microbatches = 2 and teacher.ghost_batches = 2"
    with pytest.raises(UserError, match=words):
        fit(cramped(tiny_stage(tmp_path / "whole"), 8))
    divided = tiny_stage(tmp_path / "divided", ghost_batches=2, microbatches=2, epochs=1)
    fit(cramped(divided, 8))
    assert (tmp_path / "divided" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_weights_that_do_not_fit_are_rejected_before_the_network_is_built(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TrainingOptions(model=ResNet9Options(width=8), averaging=Ema(), optimiser=Adam())
    weights = sum(weight.nbytes for weight in meta_model(options.model, 10).parameters())
    # weights, gradients, Adam's two, an average and the best, two networks that are validated
    need = weights * (1 + 1 + 2 + 2 + 2)
    cpu = torch.device("cpu")
    monkeypatch.setattr(preflight, "available_memory", lambda: need)
    reject_too_large(name, options, 10, cpu)
    monkeypatch.setattr(preflight, "available_memory", lambda: need - 1)
    with pytest.raises(UserError, match=f"{name}.model has .* weights.*\n.*smaller {name}.model"):
        reject_too_large(name, options, 10, cpu)
    reject_too_large(name, options, 10, torch.device("cuda"))  # it raises when it is full


def test_a_run_whose_student_does_not_fit_in_memory_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "available_memory", lambda: 1 << 30)
    recipe = load_recipe("demo", ("student.model={name='resnet9', width=512}",))
    with pytest.raises(UserError, match=r"student.model has .* weights"):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Noting(ViewMaker):
    """Counts the images of every call."""

    def clean(self, images: Tensor, index: Tensor, epoch: int) -> Tensor:
        SEEN.append(len(images))
        return super().clean(images, index, epoch)


SEEN: list[int] = []


def noting(stage: Stage, **changes: object) -> Stage:
    SEEN.clear()
    maker = stage.refresher
    own = Noting(maker.options, image_size=maker.image_size, seed=maker.seed)
    return dataclasses.replace(stage, refresher=own, **changes)


@pytest.mark.more
def test_the_refresh_takes_as_many_images_as_a_micro_batch(tmp_path: Path) -> None:
    fit(noting(tiny_stage(tmp_path / "two", epochs=1, ghost_batches=2, microbatches=2)))
    assert max(SEEN) == 8
    fit(noting(tiny_stage(tmp_path / "one", epochs=1)))
    assert max(SEEN) == 16


@pytest.mark.parametrize(("batch_size", "n"), [(2, 5), (2, 7), (16, 17)])
def test_the_refresh_has_no_batches_of_a_single_image(
    tmp_path: Path, batch_size: int, n: int
) -> None:
    stage = tiny_stage(tmp_path, epochs=1, batch_size=batch_size)
    few = stage.train.select(range(n))
    fit(noting(stage, sources={"labelled": few}))
    assert min(SEEN) >= 2
    assert sum(SEEN) == 3 * n  # at the epoch's end for both networks, and for what is delivered
