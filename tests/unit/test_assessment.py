"""What `assess` counts, on small real models, and what it leaves on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.assess import (
    AssessmentFacts,
    AssessOptions,
    assess,
    load_assessment,
    load_predictions,
)
from ruggedize.assess.assessment import COMPLETE, Cell, model_assessment
from ruggedize.assess.cells import spread_positions
from ruggedize.assess.example_choice import choose_examples, choose_mistakes
from ruggedize.assess.examples import save_examples
from ruggedize.assess.saving import save_assessment
from ruggedize.core.errors import UserError
from ruggedize.corruptions.names import ALL, BENCHMARK
from tests.tiny_assessment import TinyClassifier, TinySuite, tiny_images, tiny_models

FP32 = AssessOptions(precision="fp32")


def cell(corruption: str, severity: int, correct: int = 50) -> Cell:
    return Cell(
        corruption=corruption,
        severity=severity,
        n=100,
        correct=correct,
        top3_correct=90,
        agreeing=80,
        negative_log_likelihood_sum=70.0,
        calibration_error=0.1,
    )


def test_every_cell_counts_every_image_once_and_rightly() -> None:
    image_set, model = tiny_images(), TinyClassifier()
    suite = TinySuite(image_set.images)
    result, predictions = assess({"only": model}, image_set, suite, FP32)
    found = result.models["only"]
    assert [(c.corruption, c.severity) for c in found.cells] == [
        (name, severity) for name in suite.corruptions for severity in range(1, 6)
    ]
    model.eval()
    for each in found.cells:
        images = suite.images(each.corruption, each.severity, 0, len(image_set))
        wanted = model(images).argmax(1)
        assert each.n == len(image_set)
        assert each.correct == int((wanted == image_set.labels).sum())
        kept = predictions["only"].cells[each.corruption, each.severity]
        assert np.array_equal(kept.classes[:, 0], wanted.numpy())
    assert found.clean.accuracy == found.summary["clean"]


def test_one_corrupted_block_serves_all_models() -> None:
    image_set = tiny_images()
    suite = TinySuite(image_set.images)
    assess(tiny_models(), image_set, suite, FP32)
    assert len(suite.asked) == len(set(suite.asked)) == 15


def test_blocks_do_not_change_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    image_set = tiny_images()
    whole = assess(tiny_models(), image_set, TinySuite(image_set.images), FP32)
    values = 17 * image_set.images[0].numel()
    monkeypatch.setattr("ruggedize.assess.cells.BLOCK_VALUES", values)
    monkeypatch.setattr("ruggedize.models.inference.MAX_IMAGES", 5)
    parts = assess(tiny_models(), image_set, TinySuite(image_set.images), FP32)
    for ours, theirs in zip(
        whole.assessment.models["student"].cells,
        parts.assessment.models["student"].cells,
        strict=True,
    ):
        assert ours.correct == theirs.correct
        assert ours.calibration_error == pytest.approx(theirs.calibration_error, abs=1e-6)


def test_the_models_are_left_as_they_were() -> None:
    image_set, models = tiny_images(), tiny_models()
    before = {name: value.clone() for name, value in models["teacher"].state_dict().items()}
    assess(models, image_set, TinySuite(image_set.images), FP32)
    assert models["teacher"].training
    for name, value in models["teacher"].state_dict().items():
        assert torch.equal(value, before[name])


def test_a_summary_has_a_value_only_when_it_is_complete() -> None:
    all_at_5 = [cell(name, 5) for name in ALL]
    whole = model_assessment(cell("clean", 0), all_at_5)
    assert whole.summary["severity5_top1"] == 0.5
    assert whole.summary["c15"] is None
    assert whole.coverage["c15"].present == 0
    lacking = model_assessment(cell("clean", 0), all_at_5[:-1])
    assert lacking.summary["severity5_top1"] is None
    assert (lacking.coverage["severity5_top1"].present, 19) == (18, len(ALL))
    assert lacking.summary["severity5_present"] == 0.5


def test_each_summary_is_the_mean_of_its_own_cells() -> None:
    cells = [cell(name, s, 10 * s + (name in BENCHMARK)) for name in ALL for s in range(1, 6)]
    summary = model_assessment(cell("clean", 0, 99), cells).summary
    assert summary["clean"] == 0.99
    assert summary["severity5_top1"] == pytest.approx((50 * 19 + 15) / 1900)
    assert summary["c15"] == pytest.approx(0.31)
    assert summary["c19"] == pytest.approx((30 * 19 + 15) / 1900)
    assert set(COMPLETE) == {"severity5_top1", "c15", "c19"}


def test_an_assessment_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    image_set = tiny_images()
    result = assess(tiny_models(), image_set, TinySuite(image_set.images), FP32)
    facts = AssessmentFacts(overlaps={"randaugment Brightness": ("brightness",)})
    path = save_assessment(result, tmp_path, facts)
    assert path == tmp_path / "assessment.json"
    again = load_assessment(path)
    assert again == result.assessment.model_copy(update={"facts": facts})
    assert "NaN" not in path.read_text()
    assert json.loads(path.read_text())["models"]["student"]["summary"]["c19"] is None
    written = path.read_bytes()
    save_assessment(result, tmp_path, facts)
    assert path.read_bytes() == written


def test_predictions_come_back_in_index_order_and_give_the_counts(tmp_path: Path) -> None:
    image_set = tiny_images().select(torch.randperm(120))
    result = assess(tiny_models(), image_set, TinySuite(image_set.images), FP32)
    save_assessment(result, tmp_path)
    kept = load_predictions(tmp_path / "predictions" / "student.safetensors")
    assert kept.index.tolist() == sorted(kept.index.tolist())
    assert kept.clean.confidences.dtype == np.float32
    for each in result.assessment.models["student"].cells:
        assert kept.correct((each.corruption, each.severity)).sum() == each.correct
        assert kept.cells[each.corruption, each.severity].classes.shape == (120, 3)


def test_another_assessment_in_the_folder_keeps_its_own_predictions(tmp_path: Path) -> None:
    image_set = tiny_images()
    result = assess(tiny_models(), image_set, TinySuite(image_set.images), FP32)
    save_assessment(result, tmp_path / "official.json")
    assert (tmp_path / "official-predictions" / "teacher.safetensors").exists()
    assert not (tmp_path / "predictions").exists()


@pytest.mark.parametrize(("n", "num"), [(10, 3), (100, 100), (1000, 64), (1797, 500), (99, 98)])
def test_chosen_images_are_distinct_and_spread_over_the_set(n: int, num: int) -> None:
    chosen = spread_positions(n, num)
    assert len(chosen) == len(set(chosen.tolist())) == num
    assert chosen.min() >= 0
    assert chosen.max() < n
    quarters = np.bincount(chosen * 4 // n, minlength=4)
    assert quarters.min() > 0 or num < 4


def test_some_images_reach_every_class_of_a_sorted_folder() -> None:
    labels = np.repeat(np.arange(1000), 10)
    assert len(set(labels[spread_positions(10_000, 1_024)])) == 1000
    assert len(set(labels[spread_positions(10_000, 1_000)])) == 1000
    assert len(set(labels[:1_024])) == 103  # what neighbours alone would reach


def test_some_images_give_the_figures_of_those_images() -> None:
    image_set = tiny_images(300)
    some = assess(
        tiny_models(),
        image_set,
        TinySuite(image_set.images),
        FP32.model_copy(update={"num_images": 70}),
    )
    chosen = image_set.select(spread_positions(300, 70))
    alone = assess(tiny_models(), chosen, TinySuite(chosen.images), FP32)
    assert some.assessment.images.num_images == 70
    assert some.assessment.images.available == 300
    for ours, theirs in zip(
        some.assessment.models["student"].cells,
        alone.assessment.models["student"].cells,
        strict=True,
    ):
        assert ours.correct == theirs.correct


def test_a_model_that_answers_nan_is_refused() -> None:
    image_set, model = tiny_images(), TinyClassifier()
    model.centres.data[0] = float("nan")
    with pytest.raises(UserError, match=r"student returns NaN.*clean"):
        assess({"student": model}, image_set, TinySuite(image_set.images), FP32)


def test_mistakes_are_named() -> None:
    image_set = tiny_images()
    suite = TinySuite(image_set.images)
    with pytest.raises(UserError, match="has no corruption fog"):
        assess(tiny_models(), image_set, suite, AssessOptions(corruptions=("fog",)))
    misspelt = AssessOptions(corruptions=("contrst",))
    with pytest.raises(UserError, match=r"no corruption contrst;\ndid you mean contrast\?"):
        assess(tiny_models(), image_set, suite, misspelt)
    with pytest.raises(ValueError, match=r"severity must be in 1\.\.5, got 9"):
        AssessOptions(severities=(9,))
    with pytest.raises(UserError, match="ruggedize assess"):
        load_assessment(Path("nowhere.json"))


def test_another_schema_version_is_refused_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "assessment.json").write_text('{"schema_version": 99}')
    with pytest.raises(UserError, match=r"schema_version must be 1, got 99"):
        load_assessment(tmp_path / "assessment.json")


def test_examples_are_images_on_which_the_models_disagree(tmp_path: Path) -> None:
    image_set = tiny_images()
    suite = TinySuite(image_set.images)
    result = assess(tiny_models(), image_set, suite, FP32)
    first, last = result.predictions["teacher"], result.predictions["student"]
    chosen = choose_examples(first, last)
    assert chosen
    for example in chosen:
        place = (example.corruption, example.severity)
        assert first.correct(place)[example.row] != last.correct(place)[example.row]
    paths = save_examples(result, image_set, suite, tmp_path / "examples")
    assert len(paths) == len(chosen) == len(set(paths))


def test_examples_of_an_earlier_assessment_are_removed_and_nothing_else(tmp_path: Path) -> None:
    folder, image_set = tmp_path / "examples", tiny_images()
    folder.mkdir()
    for name in ("fog-5-7.png", "contrast-5-1000.png", "notes.png", "fog-5-7.txt", "fog-9-7.png"):
        (folder / name).write_bytes(b"earlier")
    (folder / "snow-1-1.png").symlink_to(folder / "notes.png")
    (folder / "rain-1-1.png").mkdir()
    suite = TinySuite(image_set.images)
    result = assess(tiny_models(), image_set, suite, FP32)
    paths = save_examples(result, image_set, suite, folder)
    kept = {"notes.png", "fog-5-7.txt", "fog-9-7.png", "snow-1-1.png", "rain-1-1.png"}
    assert {path.name for path in folder.iterdir()} == kept | {path.name for path in paths}
    assert all(path.read_bytes() != b"earlier" for path in paths)
    steady = assess({"always dark": TinyClassifier(bias=5.0)}, image_set, suite, FP32)
    assert save_examples(steady, image_set, suite, folder) == []
    assert {path.name for path in folder.iterdir()} == kept


def test_pictures_of_one_model_show_what_it_knows_clean_and_mistakes_corrupted(
    tmp_path: Path,
) -> None:
    image_set = tiny_images()
    suite = TinySuite(image_set.images)
    result = assess({"only": TinyClassifier(bias=0.02)}, image_set, suite, FP32)
    model = result.predictions["only"]
    chosen = choose_mistakes(model)
    counts = {cell: int(model.correct(cell).sum()) for cell in model.cells if cell[1] == 5}
    assert (chosen[0].corruption, 5) == min(counts, key=counts.__getitem__)
    assert len({example.corruption for example in chosen}) > 1
    for example in chosen:
        assert model.correct(None)[example.row]
        assert not model.correct((example.corruption, example.severity))[example.row]
    assert len(save_examples(result, image_set, suite, tmp_path / "examples")) == len(chosen) == 8


def test_fewer_images_than_were_asked_for_are_said_to_be_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert len(spread_positions(30, 40)) == 30
    assert "num_images = 40, but there are only 30 images" in caplog.text
    caplog.clear()
    assert [len(spread_positions(30, number)) for number in (30, 29, None)] == [30, 29, 30]
    assert not caplog.text
