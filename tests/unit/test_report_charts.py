"""Captions of the charts of a training."""

import json
from pathlib import Path

import pytest

from ruggedize.report.record import read_record
from ruggedize.report.training_figures import pseudo_label_curves
from tests.tiny_assessment import tiny_run


def test_a_run_without_unlabelled_images_has_no_chart_of_pseudo_labels(tmp_path: Path) -> None:
    assert pseudo_label_curves(read_record(tiny_run(tmp_path))) is None


@pytest.mark.parametrize(
    ("accuracy", "words"), [(0.9, "whose true labels are known"), (None, "are unknown")]
)
def test_the_chart_of_pseudo_labels_describes_the_curves_that_it_has(
    tmp_path: Path, accuracy: float | None, words: str
) -> None:
    metrics = tiny_run(tmp_path) / "student" / "metrics.jsonl"
    more = {"confident": 0.5, "pseudo_label_accuracy": accuracy, "unlabelled_agreement": 0.8}
    rows = [json.dumps(json.loads(line) | more) for line in metrics.read_text().splitlines()]
    metrics.write_text("\n".join(rows) + "\n")
    drawn = pseudo_label_curves(read_record(tmp_path))
    assert drawn is not None
    figure, _, caption = drawn
    is_drawn = any("pseudo-labels correct" in curve.name for curve in figure.data)
    assert is_drawn == (accuracy is not None)
    assert words in caption
