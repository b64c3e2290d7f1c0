"""No option of a training silently does nothing."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from ruggedize.data import Splits
from ruggedize.train import StudentOptions, TrainingOptions, train_stage
from ruggedize.train.preflight import warn_of_large_batch
from ruggedize.views import ViewOptions
from tests.tiny_stages import three_colours

TINY = {"model": "resnet9"}


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"consistency_weight": 0.0, "temperature_squared": True}, "remove it"),
        ({"consistency_weight": 0.0, "clean_view": "test"}, "remove it"),
        ({"consistency_weight": 1.0, "label_smoothing": 0.1}, "set it to 0"),
    ],
)
def test_an_option_without_effect_is_rejected(changes: dict, fix: str):
    with pytest.raises(ValidationError, match=fix):
        StudentOptions.model_validate(TINY | {"objective": changes})
    for name in changes:
        rest = {key: value for key, value in changes.items() if key != name}
        StudentOptions.model_validate(TINY | {"objective": rest})


def test_class_weights_need_a_cross_entropy():
    all_teacher = {"objective": {"consistency_weight": 1.0}, "class_weights": "balanced"}
    with pytest.raises(ValidationError, match="no effect with consistency_weight = 1; remove it"):
        StudentOptions.model_validate(TINY | all_teacher)
    StudentOptions.model_validate(TINY | all_teacher | {"objective": {"consistency_weight": 0.9}})


@pytest.mark.more
def test_a_training_applies_the_class_weights(tmp_path: Path):
    """The first step sees the same predictions: only the cross entropy differs."""
    everything = three_colours(108, 0)
    train = everything.select([*range(0, 108, 3), 1, 4, 2, 5])  # 36, 2 and 2 images
    data = Splits(train, three_colours(30, 1), three_colours(30, 2))
    plain, balanced = (first_step(data, weights, tmp_path) for weights in ("none", "balanced"))
    assert plain["student_entropy"] == balanced["student_entropy"]
    assert abs(plain["cross_entropy"] - balanced["cross_entropy"]) > 0.01


def first_step(data: Splits, class_weights: str, folder: Path) -> dict[str, float]:
    options = TrainingOptions.model_validate(
        {"model": {"name": "resnet9", "width": 8}, "epochs": 1, "batch_size": 40}
        | {"precision": "fp32", "class_weights": class_weights}
    )
    out = folder / class_weights
    train_stage("teacher", data, ViewOptions(pad=1), options, out)
    return json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("batch_size", [40, 41])
def test_a_batch_of_more_images_than_there_are_is_warned_of(
    batch_size: int, caplog: pytest.LogCaptureFixture
):
    options = TrainingOptions.model_validate(TINY | {"batch_size": batch_size})
    warn_of_large_batch("teacher", options, 40)
    expected = "teacher: 40 training images are fewer than a batch (teacher.batch_size = 41)"
    assert (expected in caplog.text) == (batch_size == 41)
    caplog.clear()
    warn_of_large_batch("teacher", options.model_copy(update={"steps_per_epoch": 9}), 40)
    assert not caplog.text  # an epoch has nine steps
