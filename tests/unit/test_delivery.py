"""The average is delivered unless the raw weights are clearly better on validation."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from ruggedize.train.delivery import (
    EpochScores,
    refresh,
    remember_if_chosen,
    weights_to_deliver,
)
from ruggedize.train.loop import fit, fresh_state
from ruggedize.train.options import TrainingOptions
from ruggedize.train.validate import Difference, Outcomes, Score, outcomes, standard_error
from tests.accelerators import only_accelerator
from tests.tiny_stages import NUM_IMAGES, three_colours, tiny_stage

pytestmark = pytest.mark.more

# A plain mean over all steps since the first, as early and bad as they are.
BAD_AVERAGE: dict[str, Any] = {
    "averaging": {"kind": "swa", "start": 0.0, "every": 1},
    "watch": "loss",
    "epochs": 8,
    "schedule": "constant",
}
FP32 = torch.autocast("cpu", enabled=False)
# Of the last steps only, so nearly as good as the raw weights.
GOOD_AVERAGE: dict[str, Any] = {
    "averaging": {"kind": "ema", "decay": 0.1},
    "watch": "loss",
    "epochs": 3,
}


class Delivery(NamedTuple):
    """What a training left."""

    note: dict[str, Any]
    rows: list[dict[str, Any]]
    weights: dict[str, Tensor]
    said: str


def delivered(
    folder: Path, caplog: pytest.LogCaptureFixture, level: int = logging.WARNING, **changes: Any
) -> Delivery:
    """Train and read what was delivered."""
    caplog.clear()
    with caplog.at_level(level):
        fit(dataclasses.replace(tiny_stage(folder, **changes), validation=three_colours(100, 1)))
    said = [record.getMessage() for record in caplog.records if record.levelno >= level]
    return Delivery(
        json.loads((folder / "delivered.json").read_text()),
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()],
        load_file(folder / "model.safetensors"),
        "\n".join(said),
    )


def equal(one: Delivery, other: Delivery) -> bool:
    """Return whether two trainings left the same weights, up to batch-norm statistics."""
    names = [name for name in one.weights if not is_statistic(name)]
    return all(torch.equal(one.weights[name], other.weights[name]) for name in names)


def is_statistic(name: str) -> bool:
    return "running_" in name or name.endswith("num_batches_tracked")


@pytest.mark.more
def test_raw_weights_that_are_clearly_better_are_delivered_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    auto = delivered(tmp_path / "auto", caplog, **BAD_AVERAGE)
    assert auto.note["weights"] == "raw"
    assert "delivering the raw weights of epoch 8" in auto.said
    assert "because the raw weights are clearly better" in auto.said
    # Of the average's best epoch, the last: what a training without an average ends with.
    alone = delivered(tmp_path / "alone", caplog, **(BAD_AVERAGE | {"averaging": "none"}))
    assert equal(auto, alone)
    average = delivered(tmp_path / "average", caplog, **BAD_AVERAGE, deliver="average")
    assert average.note["weights"] == "swa"
    assert "delivering" not in average.said
    assert not equal(auto, average)
    assert auto.note["validation"]["loss"] < average.note["validation"]["loss"]


def test_an_average_that_is_not_clearly_worse_is_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    auto = delivered(tmp_path / "auto", caplog, **GOOD_AVERAGE)
    assert auto.note["weights"] == "ema"
    assert "delivering" not in auto.said
    average = delivered(tmp_path / "average", caplog, **GOOD_AVERAGE, deliver="average")
    assert equal(auto, average)
    raw = delivered(tmp_path / "raw", caplog, **GOOD_AVERAGE, deliver="raw")
    assert [raw.note[key] for key in ("weights", "epoch", "chosen_by")] == ["raw", 3, None]
    assert all(row["validation"]["averaged"] for row in raw.rows)  # logged all the same
    assert not equal(auto, raw)
    alone = delivered(tmp_path / "alone", caplog, **(GOOD_AVERAGE | {"averaging": "none"}))
    assert equal(alone, raw)


@pytest.mark.parametrize("deliver", ["auto", "raw"])
def test_raw_weights_beside_an_average_are_scored_and_delivered_with_recomputed_statistics(
    tmp_path: Path, deliver: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = delivered(tmp_path / "both", caplog, **BAD_AVERAGE, deliver=deliver)
    assert (found.note["weights"], found.note["epoch"]) == ("raw", 8)
    alone = delivered(tmp_path / "alone", caplog, **(BAD_AVERAGE | {"averaging": "none"}))
    stage = tiny_stage(tmp_path / "oracle", **BAD_AVERAGE)
    stage = dataclasses.replace(stage, validation=three_colours(100, 1))
    stage.model.network.load_state_dict(alone.weights)
    refresh(stage, stage.model, FP32, NUM_IMAGES)
    expected = stage.model.network.state_dict()
    assert any(map(is_statistic, expected))
    for name, value in expected.items():
        torch.testing.assert_close(found.weights[name], value)
        if name.endswith("running_mean"):
            assert not torch.allclose(alone.weights[name], value, rtol=1e-3)
    scored = outcomes(stage.model, stage.validation, stage.model, FP32, stage.accelerator)
    for each in (found.note["validation"], found.note["at_epoch"]["raw"]):
        assert each["loss"] == pytest.approx(float(scored.loss.mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("deliver", "epoch", "weights"), [("raw", 2, "raw"), ("auto", 3, "ema"), ("average", 3, "ema")]
)
def test_with_early_stopping_the_best_epoch_of_the_delivered_kind_is_chosen(
    tmp_path: Path, deliver: str, epoch: int, weights: str
) -> None:
    changes = {"deliver": deliver, "early_stopping": {"patience": 9}, "watch": "loss"}
    stage = tiny_stage(tmp_path, **changes)
    state = fresh_state(stage)
    same = Difference("loss", 0.0, 0.1, 30, 0.05)
    for number, (raw, averaged) in enumerate([(0.9, None), (0.5, 0.9), (0.6, 0.6), (0.7, 0.7)]):
        state.counters.epoch = number
        with torch.no_grad():
            for weight in stage.model.parameters():
                weight.fill_(number + 1)
        scores = EpochScores(Score(raw, 0.5), averaged and Score(averaged, 0.5), same)
        remember_if_chosen(stage, state, stage.model, scores, stage.model)
    assert weights_to_deliver(stage, state.counters) == {"weights": weights, "epoch": epoch}
    names = dict(stage.model.named_parameters())
    assert all((state.best[name] == epoch).all() for name in names)


@pytest.mark.parametrize(
    ("losses", "errors", "epoch"),
    [
        ([0.9, 0.5, 0.55, 0.58], [0.1] * 4, 4),  # all within one error of the best
        ([0.9, 0.5, 0.55, 0.7], [0.1] * 4, 3),
        ([0.9, 0.5, 0.55, 0.64], [0.1] * 4, 3),  # of the best, not of the one kept last
        ([0.9, 0.5, 0.55, 0.58], [9.0, 0.0, 9.0, 9.0], 2),  # the error of the best
        ([0.9, 0.8, 0.7, 0.6], [0.0] * 4, 4),
    ],
)
def test_the_latest_average_within_one_standard_error_of_the_best_is_delivered(
    tmp_path: Path, losses: list[float], errors: list[float], epoch: int
) -> None:
    stage = tiny_stage(tmp_path, watch="loss")
    state = fresh_state(stage)
    for number, (loss, error) in enumerate(zip(losses, errors, strict=True)):
        state.counters.epoch = number
        difference = Difference("loss", 0.0, 0.1, 30, error)
        scores = EpochScores(Score(loss, 0.5), Score(loss, 0.5), difference)
        remember_if_chosen(stage, state, stage.model, scores, stage.model)
    assert weights_to_deliver(stage, state.counters)["epoch"] == epoch


def test_the_standard_error_of_a_score_is_that_of_a_mean() -> None:
    values = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    found = Outcomes(loss=values * 3, accuracy=values)
    with only_accelerator(cpu=True) as accelerator:
        assert standard_error(found, "accuracy", accelerator) == pytest.approx(0.25)
        assert standard_error(found, "loss", accelerator) == pytest.approx(0.75)
        one = Outcomes(loss=values[:1], accuracy=values[:1])
        assert standard_error(one, "loss", accelerator) == 0


def test_without_an_average_s_first_snapshot_raw_weights_are_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"averaging": {"kind": "ema", "start": 0.9}, "early_stopping": {"patience": 1}}
    changes |= {"epochs": 9, "optimiser": {"kind": "sgd", "lr": 1e-9}}
    found = delivered(tmp_path, caplog, **changes, watch="accuracy")
    assert len(found.rows) < 8
    assert found.note["weights"] == "raw"
    assert "before the average's first snapshot" in found.note["reason"]
    assert "delivering" not in found.said


def test_both_scores_their_difference_and_the_reason_are_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = delivered(tmp_path, caplog, logging.INFO, **GOOD_AVERAGE)
    row = found.rows[found.note["epoch"] - 1]
    at_epoch = found.note["at_epoch"]
    assert at_epoch == row["validation"] | {"difference": row["difference"]}
    raw, averaged = at_epoch["raw"]["loss"], at_epoch["averaged"]["loss"]
    assert at_epoch["difference"]["raw_minus_average"] == pytest.approx(raw - averaged)
    assert at_epoch["difference"]["standard_error"] > 0
    assert at_epoch["difference"]["metric"] == "loss"
    assert "not clearly better" in found.note["reason"]
    for value in (raw, averaged, at_epoch["difference"]["standard_error"]):
        assert f"{value:.4f}" in found.said
    best = [row["best"] for row in found.rows]
    assert best[-1] == {"weights": "ema", "epoch": found.note["epoch"]}
    assert [row["epoch"] for row in found.rows] == [1, 2, 3]


def test_the_final_decay_is_logged_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    averaging = {"kind": "ema", "decay": 0.999}
    found = delivered(tmp_path, caplog, logging.INFO, **(GOOD_AVERAGE | {"averaging": averaging}))
    assert found.note["final_decay"] == 12 / 21  # of twelve steps
    assert "decay of 0.5714" in found.said


@pytest.mark.more
def test_an_unreachable_decay_is_warned_of_with_a_reachable_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    averaging = {"kind": "ema", "decay": 0.99}
    found = delivered(tmp_path / "a", caplog, **(GOOD_AVERAGE | {"averaging": averaging}))
    words = (
        "teacher.averaging.decay = 0.99",
        "12 steps of averaging",
        "needs 891",
        "set it to 0.57",
    )
    assert all(word in found.said for word in words)
    averaging["decay"] = 0.57
    assert (
        "decay"
        not in delivered(tmp_path / "b", caplog, **(GOOD_AVERAGE | {"averaging": averaging})).said
    )


def test_delivering_an_average_needs_averaging() -> None:
    options = {"model": "resnet9", "deliver": "average"}
    with pytest.raises(ValidationError, match=r'set averaging = "ema" or "swa", or deliver = "aut'):
        TrainingOptions.model_validate(options)
    assert TrainingOptions.model_validate(options | {"averaging": "swa"}).deliver == "average"
