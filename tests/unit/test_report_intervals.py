"""Intervals, calibration and classes of the report, against hand calculations and oracles."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ruggedize.assess import Guessing, Predictions, assess, paired_intervals, save_assessment
from ruggedize.data import ImageSet
from ruggedize.report.advice import drops, guess_warning
from ruggedize.report.calibration import reliabilities
from ruggedize.report.classes import class_table, guess_of
from ruggedize.report.heat import heats, worst_cells
from ruggedize.report.intervals import (
    accuracy_intervals,
    cell_interval,
    share_interval,
    unpaired_interval,
)
from ruggedize.report.record import RunRecord, read_record
from ruggedize.report.support import detectable_beside
from tests.tiny_assessment import FP32, TinyClassifier, TinySuite, tiny_images


def test_wilson_s_interval_is_that_of_the_text_books() -> None:
    assert share_interval(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert share_interval(20, 20) == pytest.approx((1.0, 0.8389, 1.0), abs=1e-4)


def test_newcombe_s_interval_is_that_of_his_paper() -> None:
    found = unpaired_interval(share_interval(56, 70), share_interval(48, 80))
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_the_bootstrap_by_counts_is_that_over_images() -> None:
    scores = np.repeat([1.0, -1.0, 0.0], [60, 25, 315])[:, None]
    (oracle,) = paired_intervals(scores)
    assert cell_interval(60, 25, 400) == pytest.approx(oracle, abs=0.004)
    assert cell_interval(60, 25, 400) != pytest.approx(cell_interval(25, 60, 400), abs=0.004)


def test_images_that_did_not_change_do_not_make_a_difference_certain() -> None:
    found = cell_interval(0, 0, 100)
    assert found == pytest.approx((0.0, -0.0362, 0.0362), abs=1e-4)
    assert cell_interval(0, 0, 1000).high < found.high


def record_of(folder: Path, image_set: ImageSet, model: TinyClassifier) -> RunRecord:
    result = assess({"mine": model}, image_set, TinySuite(image_set.images), FP32)
    return read_record(save_assessment(result, folder / "mine.json"))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Make one of whose classes there are few images."""
    images = tiny_images(200)
    keep = [n for n, label in enumerate(images.labels.tolist()) if label != 3 or n % 5 == 0]
    some = ImageSet(images.images[keep], images.labels[keep], images.classes, images.index[keep])
    return record_of(tmp_path_factory.mktemp("one"), some, TinyClassifier(bias=0.03))


def predictions_of(record: RunRecord) -> Predictions:
    return record.predictions["mine"]


def test_guessing_is_counted_from_the_labels(record: RunRecord) -> None:
    labels = predictions_of(record).labels.tolist()
    counts = [labels.count(label) for label in range(4)]
    found = guess_of(record)
    assert found.chance == 0.25
    assert found.majority_share == max(counts) / len(labels)
    assert found.majority == record.assessment.images.classes[counts.index(max(counts))]
    assert found.is_unequal


def test_balanced_accuracy_is_the_mean_recall(record: RunRecord) -> None:
    predictions, table = predictions_of(record), class_table(record)
    assert table
    recalls = []
    for label in range(4):
        rows = predictions.labels == label
        recalls.append(float((predictions.clean.classes[rows, 0] == label).mean()))
    assert table.balanced[0].clean == pytest.approx(sum(recalls) / 4)
    assert table.balanced[0].clean != pytest.approx(predictions.correct(None).mean())
    classes = record.assessment.images.classes
    assert {row.name: row.clean["mine"] for row in table.rows} == pytest.approx(
        dict(zip(classes, recalls, strict=True))
    )


def test_classes_of_equal_size_have_no_table(tmp_path: Path) -> None:
    images = tiny_images(400)
    keep = [n for c in range(4) for n in np.flatnonzero(images.labels.numpy() == c)[:60].tolist()]
    even = ImageSet(images.images[keep], images.labels[keep], images.classes, images.index[keep])
    assert class_table(record_of(tmp_path, even, TinyClassifier())) is None


def test_the_bins_add_up_to_the_calibration_error(record: RunRecord) -> None:
    clean, hard = reliabilities(record)
    num = sum(each.num for each in clean.bins)
    assert num == len(predictions_of(record).labels)
    gaps = sum(each.num * abs(each.confidence - each.accuracy) for each in clean.bins)
    assert gaps / num == pytest.approx(clean.error, abs=1e-6)
    assert sum(each.num for each in hard.bins) == 3 * num
    assert all(each.low < each.confidence <= each.high for each in clean.bins)


def test_the_drop_in_a_cell_is_that_of_its_counts(record: RunRecord) -> None:
    (found,) = heats(record)
    model = record.assessment.models["mine"]
    cells = {(cell.corruption, cell.severity): cell.accuracy for cell in model.cells}
    for corruption, row in found.rows:
        for severity, interval in zip(found.severities, row, strict=True):
            assert interval
            expected = cells[corruption, severity] - model.clean.accuracy
            assert interval.difference == pytest.approx(expected)
            assert interval.low <= interval.difference <= interval.high
    worst = worst_cells(record, "mine")
    assert worst[0].accuracy.difference == min(cells.values())
    assert [w.accuracy.difference for w in worst] == sorted(cells.values())[: len(worst)]


def test_the_commonest_mistake_is_counted(record: RunRecord) -> None:
    worst, predictions = worst_cells(record, "mine")[0], predictions_of(record)
    classes = record.assessment.images.classes
    assert worst.confusion
    label, predicted = (
        classes.index(name) for name in (worst.confusion.label, worst.confusion.predicted)
    )
    top = predictions.cells[worst.corruption, worst.severity].classes[:, 0]
    assert worst.confusion.num_images == int(
        ((predictions.labels == label) & (top == predicted)).sum()
    )
    assert label != predicted


def test_an_accuracy_lies_within_its_interval(record: RunRecord) -> None:
    found = accuracy_intervals(record, ["clean", "present_mean"])
    summary = record.assessment.models["mine"].summary
    for name, intervals in found.items():
        interval = intervals["mine"]
        assert interval.low < interval.difference < interval.high
        assert interval.difference == pytest.approx(summary[name])


def test_noise_that_the_training_had_is_not_advised(record: RunRecord) -> None:
    link = {"one_of": [{"kind": "randaugment"}, {"kind": "augmix"}]}
    views = {"views": {"noise": [link, {"kind": "additive_noise"}]}}
    (plain,) = drops(replace(record, recipe={**views, "mine": {"views": "clean"}}), ["mine"])
    (noisy,) = drops(replace(record, recipe={**views, "mine": {"views": "noisy"}}), ["mine"])
    assert "Try training" in plain
    assert "Try training" not in noisy
    assert "already includes" in noisy


def test_a_model_that_guesses_is_told_to_check_its_classes(record: RunRecord) -> None:
    clean = record.assessment.models["mine"].clean
    beyond, below = clean.accuracy - 0.2, clean.accuracy + 0.01
    assert guess_warning(record, "mine", Guessing(beyond, beyond, "cat", False)) == ""
    assert "--classes" in guess_warning(record, "mine", Guessing(below, below, "cat", False))
    unequal = Guessing(beyond, below, "cat", True)
    assert "largest class" in guess_warning(record, "mine", unequal)
    assert guess_warning(record, "mine", unequal._replace(is_unequal=False)) == ""


def test_the_report_warns_of_guessing_exactly_where_the_assessment_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = tiny_images(200)
    shares, warned = [], []
    for place in range(6):
        caplog.clear()
        model = TinyClassifier(bias=0.13 + 0.02 * place)
        found = record_of(tmp_path / str(place), images, model)
        shares.append(found.assessment.models["mine"].clean.accuracy)
        by_report = guess_warning(found, "mine", guess_of(found))
        warned.append("not clearly above chance" in caplog.text)
        assert ("not clearly above chance" in by_report) == warned[-1], shares
    assert set(warned) == {True, False}, shares  # must differ


def test_four_times_the_images_detect_half_the_difference() -> None:
    assert detectable_beside(400) == pytest.approx(detectable_beside(100) / 2)
    assert detectable_beside(1000) == pytest.approx(0.028, abs=1e-3)
