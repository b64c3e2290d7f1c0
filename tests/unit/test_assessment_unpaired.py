"""A suite with other images than the data's: its own labels count, and nothing is paired."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.assess import (
    AssessOptions,
    assess,
    load_assessment,
    load_predictions,
    save_assessment,
    save_examples,
)
from ruggedize.corruptions import Unpaired
from ruggedize.report import write_report
from tests.tiny_assessment import TinySuite, tiny_images, tiny_models

FP32 = AssessOptions(precision="fp32")
REASON = "it holds <b>90</b> images"


@pytest.fixture
def clean():
    return tiny_images(120, seed=0)


@pytest.fixture
def other():
    return tiny_images(90, seed=1)


@pytest.fixture
def suite(other) -> TinySuite:
    return TinySuite(other.images, unpaired=Unpaired(other.labels, REASON))


def test_the_suites_own_images_and_labels_are_counted(clean, other, suite) -> None:
    found = assess(tiny_models(), clean, suite, FP32).assessment
    by_itself = assess(tiny_models(), other, replace(suite, unpaired=None), FP32).assessment
    by_clean = assess(tiny_models(), clean, TinySuite(clean.images), FP32).assessment
    for name, model in found.models.items():
        assert model.clean == by_clean.models[name].clean
        for ours, theirs in zip(model.cells, by_itself.models[name].cells, strict=True):
            assert ours == theirs.model_copy(update={"agreeing": None})
            assert theirs.agreeing is not None
    assert (found.images.num_images, found.images.available) == (120, 120)
    assert found.unpaired is not None
    assert found.unpaired.model_dump() == {"reason": REASON, "num_images": 90, "available": 90}
    assert by_clean.unpaired is None


def test_comparisons_resample_each_kind_of_image_by_itself(clean, suite) -> None:
    found = assess(tiny_models(), clean, suite, FP32).assessment
    numbers = {each.summary: each.n for each in found.comparisons}
    assert numbers == {"clean": 120, "severity5_present": 90, "present_mean": 90}


def test_some_images_are_taken_of_each(clean, suite) -> None:
    options = FP32.model_copy(update={"num_images": 100})
    found = assess(tiny_models(), clean, suite, options).assessment
    assert (found.images.num_images, found.images.available) == (100, 120)
    assert found.unpaired is not None
    assert (found.unpaired.num_images, found.unpaired.available) == (90, 90)


def test_predictions_come_back_with_both_sets_of_rows(clean, other, suite, tmp_path) -> None:
    result = assess(tiny_models(), clean, suite, FP32)
    save_assessment(result, tmp_path)
    kept = load_predictions(tmp_path / "predictions" / "student.safetensors")
    assert kept.clean_rows is not None
    assert np.array_equal(kept.clean_rows.indices, clean.index.numpy())
    assert np.array_equal(kept.labels, other.labels.numpy())
    model = load_assessment(tmp_path / "assessment.json").models["student"]
    assert kept.correct(None).sum() == model.clean.correct
    for each in model.cells:
        assert kept.correct((each.corruption, each.severity)).sum() == each.correct


def test_there_are_no_pairs_of_pictures(clean, suite, tmp_path: Path) -> None:
    result = assess(tiny_models(), clean, suite, FP32)
    assert save_examples(result, clean, suite, tmp_path / "examples") == []
    paired = TinySuite(clean.images)
    result = assess(tiny_models(), clean, paired, FP32)
    assert save_examples(result, clean, paired, tmp_path / "examples")


def test_the_report_says_why(clean, suite, tmp_path: Path) -> None:
    save_assessment(assess(tiny_models(), clean, suite, FP32), tmp_path)
    write_report([tmp_path], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "it holds &lt;b&gt;90&lt;/b&gt; images" in page
    assert "Predictions are therefore not compared with those on the clean image" in page
    save_assessment(assess(tiny_models(), clean, TinySuite(clean.images), FP32), tmp_path)
    write_report([tmp_path], tmp_path / "report.html")
    assert (
        "Predictions are therefore not compared with those on the clean image"
        not in (tmp_path / "report.html").read_text()
    )


def test_an_unpaired_suite_of_equal_size_is_not_paired_by_chance(clean) -> None:
    """Turn the suite's images round: same number, other order."""
    turned = clean.select(torch.arange(119, -1, -1))
    suite = TinySuite(turned.images, unpaired=Unpaired(turned.labels, "turned round"))
    found = assess(tiny_models(), clean, suite, FP32).assessment
    paired = assess(tiny_models(), clean, TinySuite(clean.images), FP32).assessment
    for name, model in found.models.items():
        ours = [(each.correct, each.agreeing) for each in model.cells]
        theirs = [(each.correct, None) for each in paired.models[name].cells]
        assert ours == theirs
