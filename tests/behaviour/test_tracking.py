"""A whole run with TensorBoard: curves, the sheet of views and the table, read back."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.behaviour.runs import ruggedize, tiny_demo

pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the tiny demo once, with TensorBoard."""
    out = tmp_path_factory.mktemp("runs") / "tracked"
    result = ruggedize(*tiny_demo(out), "--track", "tensorboard")
    assert result.returncode == 0, result.stderr
    assert "failed" not in result.stderr
    return out


@pytest.fixture(scope="module")
def events(tracked: Path) -> EventAccumulator:
    return EventAccumulator(str(tracked / "tensorboard"), size_guidance={"tensors": 0}).Reload()


def test_every_stage_has_its_curves(tracked: Path, events: EventAccumulator) -> None:
    for stage in ("teacher", "student"):
        lines = (tracked / stage / "metrics.jsonl").read_text().splitlines()
        losses = [json.loads(line)["loss"] for line in lines]
        found = events.Scalars(f"{stage}/loss")
        assert [event.step for event in found] == [1, 2]
        assert [event.value for event in found] == pytest.approx(losses, rel=1e-6)
    assert "student/consistency" in events.Tags()["scalars"]
    assert "teacher/consistency" not in events.Tags()["scalars"]


def test_the_sheet_of_views_is_an_image(tracked: Path, events: EventAccumulator) -> None:
    (image,) = events.Images("views")
    ours = np.asarray(Image.open(tracked / "views.png").convert("RGB"))
    theirs = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert np.array_equal(ours, theirs)
    assert ours.std() > 0


def test_the_table_holds_the_accuracies(tracked: Path, events: EventAccumulator) -> None:
    models = json.loads((tracked / "assessment.json").read_text())["models"]
    (text,) = events.Tensors("accuracy/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert table.startswith("| accuracy, % | teacher | student |")
    for name in ("teacher", "student"):
        (event,) = events.Scalars(f"accuracy/{name}/clean")
        clean = models[name]["clean"]
        assert event.value == pytest.approx(clean["correct"] / clean["n"])
        assert f"{100 * event.value:.2f}" in table


def test_the_same_run_without_a_tracker_is_the_same_run(tracked: Path) -> None:
    result = ruggedize(*tiny_demo(tracked))
    assert result.returncode == 0, result.stderr
    assert "was already finished" in result.stdout


def test_an_unknown_tracker_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    result = ruggedize(*tiny_demo(tmp_path / "run"), "--track", "tensorboard,nothing")
    assert result.returncode == 2
    assert "a tracker must be one of tensorboard, wandb, mlflow, trackio" in result.stderr
    assert not (tmp_path / "run").exists()
