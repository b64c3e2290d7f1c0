"""A resumed training equals an uninterrupted one; damaged states are detected."""

import logging
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.core.signals import Signals
from ruggedize.models import autocast_for
from ruggedize.train import loop
from ruggedize.train.batches import batches_of_epoch
from ruggedize.train.checkpoint import NUM_KEPT, State, load_newest_state, save_state
from ruggedize.train.delivery import EpochScores, validate_epoch
from ruggedize.train.distributed import actions_due
from ruggedize.train.loop import end_epoch, fit, fresh_state, run_epoch
from ruggedize.train.step import step
from tests.tiny_stages import checked, tiny_stage

FP32 = autocast_for("fp32", torch.device("cpu"))
OPTIMISERS = [
    {"kind": "sgd", "lr": 0.05},
    {"kind": "adam", "lr": 1e-3},
    {"kind": "adamw", "lr": 1e-3},
]


def walk(stage, state: State, num_steps: int) -> None:
    """Run steps as the loop does, across epochs."""
    for _ in range(num_steps):
        counters = state.counters
        batch = next(batches_of_epoch(stage, counters.epoch, counters.step_in_epoch))
        stage.model.train()
        step(stage, state, stage.model, FP32, batch)
        counters.step += 1
        counters.step_in_epoch += 1
        if state.average:
            state.average.update(stage.model, counters.step)
        if counters.step_in_epoch == stage.steps_per_epoch:
            counters.epoch, counters.step_in_epoch = counters.epoch + 1, 0


def equal(one: State, other: State) -> bool:
    ours, theirs = one.tensors(), other.tensors()
    same = all(torch.equal(value, theirs[name]) for name, value in ours.items())
    return ours.keys() == theirs.keys() and same


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda o: o["kind"])
@pytest.mark.parametrize("averaging", ["none", "ema", "swa"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_twenty_steps_equal_nine_a_save_a_load_and_eleven(
    tmp_path: Path, optimiser: dict, averaging: str, layout: torch.memory_format
) -> None:
    averages = {"kind": averaging} | ({"start": 0.2, "every": 2} if averaging == "swa" else {})
    changes = {"optimiser": optimiser, "averaging": averages}
    whole = tiny_stage(tmp_path, **changes)
    whole.model.to(memory_format=layout)
    unbroken = fresh_state(whole)
    walk(whole, unbroken, 20)

    first = tiny_stage(tmp_path, **changes)
    first.model.to(memory_format=layout)
    before = fresh_state(first)
    walk(first, before, 9)
    save_state(before, tmp_path / "state")
    second = tiny_stage(tmp_path, weights_seed=99, **changes)
    second.model.to(memory_format=layout)
    after = fresh_state(second)
    assert not equal(before, after)
    assert load_newest_state(after, tmp_path / "state")
    assert equal(before, after)
    walk(second, after, 11)
    assert equal(unbroken, after)


def test_counters_patience_and_rows_are_saved(tmp_path: Path) -> None:
    changes = {
        "schedule": {"kind": "plateau", "patience": 1},
        "early_stopping": {"patience": 2},
    }
    stage = tiny_stage(tmp_path, **changes)
    state = fresh_state(stage)
    for _ in range(2):
        run_epoch(stage, state, stage.model, FP32, Signals())
        end_epoch(stage, state, FP32)
    other = fresh_state(tiny_stage(tmp_path, weights_seed=5, **changes))
    assert load_newest_state(other, tmp_path / "state")
    assert other.counters == state.counters
    assert len(other.counters.rows) == 2
    assert other.numbers() == state.numbers()
    assert equal(state, other)


@pytest.mark.more
def test_states_can_be_saved_less_often_and_a_training_still_resumes_exactly(
    tmp_path: Path,
) -> None:
    changes = {"epochs": 3, "save_seconds": 3600.0}
    for name in ("whole", "cut"):
        fit(tiny_stage(tmp_path / name, **changes))
    states = sorted((tmp_path / "cut" / "state").iterdir())
    assert [path.name[:8] for path in states] == ["00000012"]  # of the last epoch alone
    (tmp_path / "cut" / "model.safetensors").unlink()
    states[0].unlink()
    fit(tiny_stage(tmp_path / "cut", **changes))
    ours, theirs = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")
    )
    assert ours == theirs


def test_only_the_newest_states_are_kept(tmp_path: Path) -> None:
    state = fresh_state(tiny_stage(tmp_path))
    for number in range(4):
        state.counters.step = number
        save_state(state, tmp_path / "state")
    names = sorted(path.name[:8] for path in (tmp_path / "state").iterdir())
    assert names == ["00000002", "00000003"]
    assert len(names) == NUM_KEPT


def damage(path: Path, kind: str) -> None:
    """Do to a file what a failing disk or a copy cut short does."""
    data = bytearray(path.read_bytes())
    if kind == "flipped":
        data[len(data) // 2] ^= 1
    else:
        del data[len(data) // 2 if kind == "truncated" else 0 :]
    path.write_bytes(data)


def two_states(folder: Path) -> tuple[State, list[Path]]:
    """Save after step 1 and after step 2."""
    state = fresh_state(tiny_stage(folder))
    for number in (1, 2):
        state.counters.step = number
        save_state(state, folder / "state")
    return state, sorted((folder / "state").iterdir())


@pytest.mark.parametrize("kind", ["truncated", "flipped", "emptied"])
def test_a_damaged_state_is_skipped_for_the_previous_one(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    state, (_, newest) = two_states(tmp_path)
    damage(newest, kind)
    with caplog.at_level(logging.WARNING):
        assert load_newest_state(state, tmp_path / "state")
    assert state.counters.step == 1
    assert f"{newest} is damaged" in caplog.text
    assert "trying the previous state" in caplog.text


@pytest.mark.more
def test_a_training_starts_over_with_a_warning_if_all_states_are_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tiny_stage(tmp_path / "whole", epochs=2)
    fit(whole)
    stage = tiny_stage(tmp_path / "cut", epochs=2)
    state = fresh_state(stage)
    run_epoch(stage, state, stage.model, FP32, Signals())
    end_epoch(stage, state, FP32)
    run_epoch(stage, state, stage.model, FP32, Signals())
    end_epoch(stage, state, FP32)
    for path in (tmp_path / "cut" / "state").iterdir():
        damage(path, "flipped")
    with caplog.at_level(logging.WARNING):
        fit(tiny_stage(tmp_path / "cut", epochs=2))
    assert "the training starts over" in caplog.text
    first, second = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert first.read_bytes() == second.read_bytes()
    assert len(list((tmp_path / "cut" / "state").iterdir())) == NUM_KEPT
    assert load_newest_state(
        fresh_state(tiny_stage(tmp_path, epochs=2)), tmp_path / "cut" / "state"
    )


def test_a_state_is_saved_after_five_minutes(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path)
    state = fresh_state(stage)
    assert not actions_due(stage, state, Signals(), 299).save
    assert actions_due(stage, state, Signals(), 301).save


def test_of_two_states_of_a_step_the_one_saved_last_is_loaded(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path)
    state = fresh_state(stage)
    for epoch in range(1, 9):  # the hash that ends a name would sort them at random
        state.counters.epoch = epoch
        save_state(state, tmp_path / "state")
        other = fresh_state(tiny_stage(tmp_path))
        assert load_newest_state(other, tmp_path / "state")
        assert other.counters.epoch == epoch


def test_a_damaged_state_does_not_count_as_kept(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path)
    state = fresh_state(stage)
    for number in (10, 20):
        state.counters.step = number
        save_state(state, tmp_path)
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    later = fresh_state(stage)
    assert load_newest_state(later, tmp_path)
    later.counters.step = 12
    save_state(later, tmp_path)
    assert [int(path.name[:8]) for path in sorted(tmp_path.iterdir())] == [10, 12]


def test_an_unreadable_disk_is_not_taken_for_a_damaged_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = tiny_stage(tmp_path)
    save_state(fresh_state(stage), tmp_path)
    before = list(tmp_path.iterdir())

    def failing(path: Path) -> str:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("ruggedize.train.checkpoint.sha256", failing)
    with pytest.raises(
        UserError, match=r"cannot be read \(Stale file handle\);\n.*repeat the command"
    ):
        load_newest_state(fresh_state(stage), tmp_path)
    assert list(tmp_path.iterdir()) == before


def test_other_files_beside_the_states_are_left_alone(tmp_path: Path) -> None:
    state, _ = two_states(tmp_path)
    theirs = tmp_path / "state" / "model.safetensors"
    theirs.write_bytes(b"somebody's")
    assert load_newest_state(state, tmp_path / "state")
    for number in (3, 4, 5):
        state.counters.step = number
        save_state(state, tmp_path / "state")
    assert theirs.read_bytes() == b"somebody's"
    assert len(list((tmp_path / "state").iterdir())) == NUM_KEPT + 1


def test_without_a_state_a_training_starts(tmp_path: Path) -> None:
    assert not load_newest_state(fresh_state(tiny_stage(tmp_path)), tmp_path / "state")


def test_the_state_of_another_training_is_rejected(tmp_path: Path) -> None:
    save_state(fresh_state(tiny_stage(tmp_path)), tmp_path / "state")
    other = fresh_state(tiny_stage(tmp_path, objective={"label_smoothing": 0.1}))
    with pytest.raises(UserError, match="another training"):
        load_newest_state(other, tmp_path / "state")


@pytest.mark.more
def test_a_new_training_removes_files_of_an_earlier_one(tmp_path: Path) -> None:
    """An earlier one was killed before its first state, with other initial weights."""
    fit(tiny_stage(tmp_path / "alone", epochs=1))
    fit(tiny_stage(tmp_path / "used", weights_seed=2, epochs=1))
    for path in ((tmp_path / "used/model.safetensors"), *(tmp_path / "used/state").iterdir()):
        path.unlink()
    (tmp_path / "used/not_finite.json").write_text("{}")
    fit(tiny_stage(tmp_path / "used", epochs=1))
    for name in ("initial.safetensors", "model.safetensors"):
        one, other = (tmp_path / place / name for place in ("alone", "used"))
        assert one.read_bytes() == other.read_bytes()
    assert not (tmp_path / "used/not_finite.json").exists()


def test_a_model_without_a_state_is_not_overwritten(tmp_path: Path) -> None:
    fit(tiny_stage(tmp_path, epochs=1))
    before = (tmp_path / "model.safetensors").read_bytes()
    for path in (tmp_path / "state").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"holds a model but no state .*\n.*another folder"):
        fit(tiny_stage(tmp_path, objective={"label_smoothing": 0.1}, epochs=1))
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_swa_without_any_snapshot_is_rejected(tmp_path: Path) -> None:
    averaging = {"kind": "swa", "start": 0.9, "every": 10}
    with pytest.raises(UserError, match=r"averaging\.every must be at most"):
        checked(tiny_stage(tmp_path, averaging=averaging))


def test_a_stop_in_validation_saves_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any) -> EpochScores:
        signal.raise_signal(signal.SIGINT)
        return validate_epoch(*arguments)

    monkeypatch.setattr(loop, "validate_epoch", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_stage(tmp_path, save_seconds=3600.0))
    state = fresh_state(tiny_stage(tmp_path, save_seconds=3600.0))
    assert load_newest_state(state, tmp_path / "state")
    assert (state.counters.epoch, state.counters.step_in_epoch) == (1, 0)
