"""Experiment trackers: what TensorBoard's event files hold, and what happens when one fails."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ruggedize.core.errors import UserError
from ruggedize.recipe import differing_keys, load_recipe, recipe_toml
from ruggedize.tracking import TRACKED, reject_missing_trackers, tracking_of
from ruggedize.train.loop import fit
from tests.test_layers import modules_after
from tests.tiny_stages import tiny_stage

EPOCHS = 4


class StoppedError(Exception):
    """Ends a training after an epoch."""


def events(folder: Path) -> EventAccumulator:
    """Read the event files of a run back."""
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    return found.Reload()


def steps(folder: Path, tag: str) -> list[int]:
    return [event.step for event in events(folder).Scalars(tag)]


def train(folder: Path, *names: Any, stop_after: int = EPOCHS) -> None:
    """Train a tiny teacher with trackers, or resume it; interrupt it after some epoch."""
    accelerator = Accelerator(cpu=True)
    stage = tiny_stage(folder, accelerator=accelerator, epochs=EPOCHS)
    with tracking_of(names, folder, accelerator) as tracking:

        def on_rows(stage: str, rows: list[dict[str, Any]]) -> None:
            tracking.on_rows(stage, rows)
            if stop_after == len(rows) < EPOCHS:
                raise StoppedError

        fit(dataclasses.replace(stage, on_rows=on_rows))
        tracking.on_stage("teacher", folder)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_curves_are_those_of_the_metrics(tmp_path: Path) -> None:
    train(tmp_path, "tensorboard")
    rows, found = metrics(tmp_path), events(tmp_path)
    losses = [event.value for event in found.Scalars("teacher/loss")]
    accuracies = [event.value for event in found.Scalars("teacher/validation/raw/accuracy")]
    assert losses == pytest.approx([row["loss"] for row in rows], rel=1e-6)
    assert accuracies == pytest.approx([row["validation"]["raw"]["accuracy"] for row in rows])
    assert losses != pytest.approx(accuracies)
    assert steps(tmp_path, "teacher/loss") == [row["epoch"] for row in rows] == [1, 2, 3, 4]


def test_an_interpolation_has_a_curve_too(tmp_path: Path) -> None:
    points = [{"alpha": 0.0, "clean": 0.5, "corrupted": 0.25}, {"alpha": 1.0, "clean": 0.75}]
    (tmp_path / "interpolation.json").write_text(json.dumps({"points": points}))
    with tracking_of(["tensorboard"], tmp_path, Accelerator(cpu=True)) as tracking:
        tracking.on_stage("between", tmp_path)
    found = events(tmp_path)
    assert [event.value for event in found.Scalars("between/alpha")] == [0, 1]
    assert [event.value for event in found.Scalars("between/clean")] == [0.5, 0.75]


def test_the_callers_accelerator_is_left_alone(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True)
    for name in ("first", "second"):
        with tracking_of(["tensorboard"], tmp_path / name, accelerator) as tracking:
            tracking.on_rows("teacher", [{"loss": 1.0}])
    assert steps(tmp_path / "first", "teacher/loss") == [1]
    assert steps(tmp_path / "second", "teacher/loss") == [1]
    assert accelerator.trackers == [] == accelerator.log_with


@pytest.mark.more
def test_a_resumed_training_sends_no_step_twice(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, "tensorboard", stop_after=2)
    assert steps(tmp_path, "teacher/loss") == [1, 2]
    train(tmp_path, "tensorboard")
    assert steps(tmp_path, "teacher/loss") == [1, 2, 3, 4]
    (tmp_path / TRACKED).unlink()  # without the record of what was sent, all is sent again
    train(tmp_path, "tensorboard")
    assert len(steps(tmp_path, "teacher/loss")) == 8


@pytest.mark.more
def test_a_training_that_was_not_tracked_is_sent_when_it_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, stop_after=2)
    assert not (tmp_path / "tensorboard").exists()
    train(tmp_path, "tensorboard")
    assert steps(tmp_path, "teacher/loss") == [1, 2, 3, 4]


@pytest.mark.more
def test_a_tracked_training_gives_the_same_model(tmp_path: Path) -> None:
    train(tmp_path / "plain")
    train(tmp_path / "tracked", "tensorboard")
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "tracked")]
    assert models[0] == models[1]


def test_a_tracker_that_fails_does_not_end_a_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tensorboard").write_text("a file where TensorBoard needs a folder")
    train(tmp_path, "tensorboard")
    assert len(metrics(tmp_path)) == EPOCHS
    assert (tmp_path / "model.safetensors").exists()
    assert caplog.text.count("tracking with tensorboard failed") == 1


def test_a_damaged_record_does_not_end_a_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / TRACKED).write_text("[1, 2")
    train(tmp_path, "tensorboard")
    assert (tmp_path / "model.safetensors").exists()
    assert "tracking with tensorboard failed" in caplog.text


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("tensorboard", "'ruggedize[track]'"),
        ("wandb", "wandb"),
        ("mlflow", "mlflow"),
        ("trackio", "trackio"),
    ],
)
def test_a_missing_package_is_an_error_that_names_the_command(
    name: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(UserError) as error:
        reject_missing_trackers([name])
    assert str(error.value).endswith(f"\npip install {package}")
    assert name in str(error.value)


def test_an_installed_package_is_no_error() -> None:
    reject_missing_trackers(["tensorboard"])
    reject_missing_trackers([])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("track=tensorboard", ("tensorboard",)),
        ('track=["tensorboard", "mlflow"]', ("tensorboard", "mlflow")),
        ("track=none", ()),
    ],
)
def test_a_recipe_takes_a_name_or_a_list(change: str, names: tuple[str, ...]) -> None:
    assert load_recipe("demo", (change,)).track == names


@pytest.mark.parametrize("change", ["track=tensorbord", 'track=["wandb", "aim"]', "track=3"])
def test_an_unknown_tracker_is_an_error(change: str) -> None:
    with pytest.raises(UserError, match=r"track(: a tracker)? must be"):
        load_recipe("demo", (change,))


def test_a_run_may_be_resumed_with_or_without_trackers(tmp_path: Path) -> None:
    plain, tracked = load_recipe("demo"), load_recipe("demo", ("track=wandb",))
    assert differing_keys(plain, tracked) == []
    assert differing_keys(plain, load_recipe("demo", ("seed=1",))) == ["seed"]
    (tmp_path / "recipe.toml").write_text(recipe_toml(tracked))
    assert load_recipe(tmp_path / "recipe.toml").track == ("wandb",)


@pytest.mark.more
def test_no_tracker_is_imported_before_it_is_used() -> None:
    loaded = modules_after("import ruggedize.pipeline, ruggedize.tracking")
    assert not loaded & {"tensorboard", "wandb", "mlflow", "trackio"}
    assert "tensorboard" in modules_after(
        "from ruggedize.tracking import reject_missing_trackers as r; r(['tensorboard'])"
    )
