"""A non-finite loss stops the training at that step and keeps the state before it."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from ruggedize.core import seeding
from ruggedize.core.errors import UserError
from ruggedize.train import distributed, safety
from ruggedize.train.batches import batches_of_epoch
from ruggedize.train.checkpoint import State, load_newest_state, save_state
from ruggedize.train.loop import fit, fresh_state
from ruggedize.train.objectives.objective import Batch
from ruggedize.train.safety import NOT_FINITE, FirstBadStep
from ruggedize.train.stage import Stage
from ruggedize.train.step import step
from tests.behaviour.runs import steps_saved
from tests.tiny_stages import Terms, altered, times, tiny_stage
from tests.unit.test_state import FP32, equal

pytestmark = pytest.mark.more

BAD = 7  # the step, counted from 1, whose loss is spoilt: the third of the second epoch


def spoilt(
    folder: Path,
    value: float,
    bad: int = BAD,
    accelerator: Accelerator | None = None,
    **changes: object,
) -> Stage:
    """Build a training whose loss takes this value at one step."""
    stage, calls = tiny_stage(folder, accelerator=accelerator, **changes), []

    def change(terms: Terms, batch: Batch) -> Terms:
        calls.append(batch)
        return times(terms, value) if len(calls) == bad else terms

    return altered(stage, change)


def after(stage: Stage, num_steps: int) -> State:
    """Run steps one by one, in the order of the loop."""
    stage.model.to(memory_format=torch.channels_last)  # pyright: ignore
    state = fresh_state(stage)
    for number in range(num_steps):
        state.counters.epoch, place = divmod(number, stage.steps_per_epoch)
        stage.model.train()
        step(
            stage,
            state,
            stage.model,
            FP32,
            next(batches_of_epoch(stage, state.counters.epoch, place)),
        )
        state.counters.step += 1
        if state.average:
            state.average.update(stage.model, state.counters.step)
    return state


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_error_names_step_learning_rate_and_images(tmp_path: Path, value: float) -> None:
    stage = spoilt(tmp_path, value, schedule="constant")
    words = r"NaN at step 7 \(epoch 2\), learning rate 0.05;\n.*\nlower teacher.optimiser.lr"
    with pytest.raises(UserError, match=words):
        fit(stage)
    record = json.loads((tmp_path / NOT_FINITE).read_text())
    images = seeding.order(0, "teacher/order", 1, stage.num_images)[32:48]
    assert record == {"step": 7, "epoch": 2, "lr": 0.05, "images": images.tolist()}
    assert not (tmp_path / "model.safetensors").exists()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_the_state_before_the_bad_step_is_saved_completely(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="step 7"):
        fit(spoilt(tmp_path, math.nan))
    saved = fresh_state(tiny_stage(tmp_path, weights_seed=9))
    assert load_newest_state(saved, tmp_path / "state")
    counters = saved.counters
    assert (counters.step, counters.epoch, counters.step_in_epoch) == (6, 1, 2)
    assert all(tensor.isfinite().all() for tensor in saved.tensors().values())
    best = {name for name in saved.tensors() if name.startswith("best/")}
    saved.best = {}
    assert equal(after(tiny_stage(tmp_path / "a"), 6), saved)
    assert not equal(after(tiny_stage(tmp_path / "b"), 7), saved)  # must differ
    assert best


def test_the_training_resumes_from_the_state_before_the_bad_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="step 7"):
        fit(spoilt(tmp_path / "stopped", math.nan))
    fit(tiny_stage(tmp_path / "stopped"))
    fit(tiny_stage(tmp_path / "whole"))
    stopped, whole = (tmp_path / x / "model.safetensors" for x in ("stopped", "whole"))
    assert stopped.read_bytes() == whole.read_bytes()
    rows = [json.loads(x) for x in (tmp_path / "stopped/metrics.jsonl").read_text().splitlines()]
    others = [json.loads(x) for x in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    timed = ("seconds", "images_per_second")
    for row in rows + others:
        assert all(row.pop(name) > 0 for name in timed)
    assert rows == others


@pytest.mark.more
@pytest.mark.parametrize(("bad", "epoch", "saved"), [(7, 2, [4]), (2, 1, [])])
def test_on_a_gpu_nothing_is_saved_after_the_bad_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int, epoch: int, saved: list[int]
) -> None:
    """As on a GPU: the weights have been updated before the loss is checked."""
    for part in (safety, distributed):
        monkeypatch.setattr(part, "sync_is_free", lambda device: False)
    with pytest.raises(UserError, match=rf"NaN at step {bad} \(epoch {epoch}\)"):
        fit(spoilt(tmp_path / "stopped", math.nan, bad))
    assert steps_saved(tmp_path / "stopped") == saved
    fit(tiny_stage(tmp_path / "stopped"))
    fit(tiny_stage(tmp_path / "whole"))
    stopped, whole = (tmp_path / x / "model.safetensors" for x in ("stopped", "whole"))
    assert stopped.read_bytes() == whole.read_bytes()


def test_on_a_gpu_the_loss_is_checked_before_every_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (safety, distributed):
        monkeypatch.setattr(part, "sync_is_free", lambda device: False)
    monkeypatch.setattr(distributed, "SAVE_SECONDS", -1.0)
    with pytest.raises(UserError, match="NaN at step 7"):
        fit(spoilt(tmp_path, math.nan))
    assert steps_saved(tmp_path) == [5, 6]


def test_a_far_too_high_learning_rate_is_named(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path, optimiser={"kind": "sgd", "lr": 1e30})
    with pytest.raises(
        UserError, match=r"infinite or NaN(.*\n)*lower teacher.optimiser.lr \(now 1e\+30"
    ):
        fit(stage)


def test_only_the_first_bad_step_is_recorded(tmp_path: Path) -> None:
    accelerator = tiny_stage(tmp_path).accelerator
    first = FirstBadStep(torch.device("cpu"))
    first.note(torch.tensor(1.0), torch.tensor(1.0), 1)
    assert first.read(accelerator) is None
    for number, loss, norm in ((2, 1.0, math.inf), (3, 1.0, 1.0), (4, math.nan, 1.0)):
        first.note(torch.tensor(loss), torch.tensor(norm), number)
    assert first.read(accelerator) == 2


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_a_non_finite_validation_loss_is_an_error(tmp_path: Path, averaging: str) -> None:
    far = {"kind": "sgd", "lr": 1e38}
    stage = tiny_stage(tmp_path, epochs=2, batch_size=64, averaging=averaging, optimiser=far)
    assert stage.steps_per_epoch == 1
    with pytest.raises(UserError, match="infinite or NaN at step 1 "):
        fit(stage)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_the_newest_state_is_kept_even_if_the_clock_is_wrong(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path)
    state = fresh_state(stage)
    for number in range(3):
        state.counters.step = number
        save_state(state, tmp_path / "state")
        for path in (tmp_path / "state").iterdir():
            os.utime(path, (4e9 - number, 4e9 - number))  # a clock that runs back
    assert max(path.name for path in (tmp_path / "state").iterdir()).startswith("00000002")
