"""Validation uses labelled images only, and compares two networks image by image."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.train.loop import fit
from ruggedize.train.stage import Stage
from ruggedize.train.validate import Outcomes, outcomes, raw_minus_average, score
from tests.tiny_stages import checked, three_colours, tiny_stage
from tests.unit.test_state import FP32


def partly_labelled(stage: Stage) -> Stage:
    """Remove the labels of the first class's validation images, a third of them."""
    labels = stage.validation.labels.clone()
    labels[labels == 0] = -1
    return dataclasses.replace(
        stage, validation=dataclasses.replace(stage.validation, labels=labels)
    )


def test_unlabelled_validation_images_are_skipped(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path)
    some = partly_labelled(stage)
    only = dataclasses.replace(
        stage, validation=stage.validation.select([i for i in range(30) if i % 3])
    )
    scores = [
        score(
            outcomes(stage.model, each.validation, stage.model, FP32, stage.accelerator),
            stage.accelerator,
        )
        for each in (some, only, stage)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    assert scores[2] != pytest.approx(scores[1], rel=0.1)  # must differ


def test_a_training_with_partly_labelled_validation_images_delivers(tmp_path: Path) -> None:
    fit(partly_labelled(tiny_stage(tmp_path, epochs=1)))
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["difference"]["num_images"] == 20


def test_a_validation_split_without_labels_is_rejected_before_training(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path / "run")
    unlabelled = dataclasses.replace(stage.validation, labels=torch.full((30,), -1))
    with pytest.raises(UserError, match=r"none of the 30 validation images has a label.*\n.*label"):
        checked(dataclasses.replace(stage, validation=unlabelled))
    checked(stage)


def test_the_difference_is_the_mean_over_pairs_with_its_standard_error(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    raw, averaged = (
        Outcomes(torch.rand(40, generator=generator).double(), torch.ones(40).double())
        for _ in range(2)
    )
    found = raw_minus_average(raw, averaged, "loss", tiny_stage(tmp_path).accelerator)
    pairs = [float(a - b) for a, b in zip(raw.loss, averaged.loss, strict=True)]
    mean = sum(pairs) / 40
    deviation = math.sqrt(sum((d - mean) ** 2 for d in pairs) / 39)
    assert found.raw_minus_average == pytest.approx(mean)
    assert found.standard_error == pytest.approx(deviation / math.sqrt(40))
    assert found.num_images == 40


def differing_in(num_better: int, num_worse: int, n: int = 100) -> tuple[Outcomes, Outcomes]:
    """Return outcomes of raw weights and an average that disagree on so many images."""
    raw, averaged = torch.zeros(n).double(), torch.zeros(n).double()
    raw[:num_better] = 1
    averaged[num_better : num_better + num_worse] = 1
    return Outcomes(-raw, raw), Outcomes(-averaged, averaged)


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
@pytest.mark.parametrize(
    ("num_better", "num_worse", "raw_is_better"),
    [(3, 0, False), (4, 0, True), (12, 4, True), (11, 4, False), (0, 10, False), (0, 0, False)],
)
def test_raw_weights_are_better_by_more_than_two_standard_errors(
    tmp_path: Path, metric: str, num_better: int, num_worse: int, raw_is_better: bool
) -> None:
    pair = differing_in(num_better, num_worse)
    found = raw_minus_average(*pair, metric, tiny_stage(tmp_path).accelerator)  # pyright: ignore
    assert found.raw_is_better is raw_is_better


def test_losses_that_are_better_by_less_than_the_score_s_error_are_not(tmp_path: Path) -> None:
    """Losses of similar weights differ by little, but on every image."""
    averaged = torch.linspace(0, 2, 100).double()
    error = float(averaged.std()) / 10
    for factor, is_better in ((0.9, False), (1.1, True)):
        pair = (Outcomes(each, torch.ones(100)) for each in (averaged - factor * error, averaged))
        found = raw_minus_average(*pair, "loss", tiny_stage(tmp_path).accelerator)
        assert found.score_error == pytest.approx(error)
        assert found.standard_error == pytest.approx(0, abs=1e-9)
        assert found.raw_is_better is is_better


def test_a_single_validation_image_decides_nothing(tmp_path: Path) -> None:
    raw, averaged = differing_in(1, 0, n=1)
    found = raw_minus_average(raw, averaged, "accuracy", tiny_stage(tmp_path).accelerator)
    assert found.standard_error is None
    assert not found.raw_is_better


def test_one_labelled_validation_image_is_enough(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path, epochs=1)
    fit(dataclasses.replace(stage, validation=three_colours(1, 1)))
    assert json.loads((tmp_path / "delivered.json").read_text())["weights"] == "ema"
