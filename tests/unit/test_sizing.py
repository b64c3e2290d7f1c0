"""Options that are "auto": sizes by the number of images, and the network by measured speed."""

import json
import logging
from pathlib import Path

import pytest
import torch

from ruggedize.cli import training
from ruggedize.cli.training import choice_for
from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions, count_images, load_splits
from ruggedize.recipe import Recipe, load_recipe, recipe_toml
from ruggedize.recipe.sizing import CANDIDATES, Sizes, half_width, note_on_few, sizes_for
from ruggedize.train import Workload
from ruggedize.train.fine_tuning.speed import (
    measured_choice,
    seconds_per_image,
    timed_until_too_slow,
)
from tests.foreign import colour_folder, with_timm

TABLE = {  # images to train and validate on: side, share, batch, epochs of teacher and student
    10: Sizes(224, 0.2, 8, 30, 60),
    200: Sizes(224, 0.2, 8, 30, 60),
    1000: Sizes(224, 0.2, 32, 25, 50),
    1600: Sizes(224, 0.1, 64, 13, 27),
    20_000: Sizes(224, 0.1, 64, 4, 8),
    50_000: Sizes(160, 0.05, 64, 4, 8),
    1_000_000: Sizes(128, 0.05, 64, 4, 8),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return colour_folder(tmp_path / "pictures", ("train", "test"), n=30)


def of_photos(photos: Path, *changes: str, **more: object) -> Recipe:
    return load_recipe("photos", (f"data.name={photos}", *changes), **more)  # pyright: ignore


@pytest.mark.parametrize("num_images", TABLE)
def test_sizes_follow_the_number_of_images(num_images: int) -> None:
    assert sizes_for(num_images) == TABLE[num_images]


def test_a_folder_is_counted_as_it_is_loaded(photos: Path) -> None:
    size = count_images(DataOptions(name=str(photos)))
    splits = load_splits(DataOptions(name=str(photos), image_size=16, validation=0.2))
    assert size
    assert size.num_images == len(splits.train) + len(splits.validation)
    assert (size.num_test, len(size.classes)) == (len(splits.test), len(splits.train.classes))
    assert not size.has_validation


def test_a_folder_without_splits_keeps_a_fifth_for_testing(tmp_path: Path) -> None:
    size = count_images(DataOptions(name=str(colour_folder(tmp_path / "all", ("",), n=60))))
    assert size
    assert (size.classes, size.num_test) == ({"blue": 16, "green": 16, "red": 16}, 12)


def test_a_table_and_a_built_in_set_are_counted(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "images.csv"
    files = sorted((photos / "train").rglob("*.png"))
    rows = [f"{file},{file.parent.name},train" for file in files]
    rows += [f"{files[0]},{files[0].parent.name},test"]
    table.write_text("\n".join(["path,label,split", *rows]))
    size = count_images(DataOptions(name=str(table)))
    assert size
    assert (size.num_images, size.num_test) == (30, 1)
    digits, splits = (
        count_images(DataOptions(name="digits")),
        load_splits(DataOptions(name="digits")),
    )
    assert digits
    assert abs(digits.num_images - len(splits.train) - len(splits.validation)) < 10
    assert digits.num_test == len(splits.test)


def test_the_recipe_has_numbers_that_read_back(photos: Path, tmp_path: Path) -> None:
    recipe, sizes = of_photos(photos), sizes_for(30)
    assert recipe.data.image_size == recipe.views.crop == sizes.image_size
    assert recipe.data.validation == sizes.validation
    assert recipe.teacher.epochs == sizes.teacher_epochs
    assert recipe.student.epochs == sizes.student_epochs
    assert recipe.teacher.batch_size == recipe.student.batch_size == sizes.batch_size
    (tmp_path / "recipe.toml").write_text(recipe_toml(recipe))
    assert load_recipe(tmp_path / "recipe.toml") == recipe


def test_options_that_are_set_win(photos: Path) -> None:
    recipe = of_photos(photos, "views.crop=64", "teacher.epochs=3", "control=true")
    assert (recipe.views.crop, recipe.data.image_size) == (64, 64)
    assert (recipe.teacher.epochs, recipe.student.epochs) == (3, sizes_for(30).student_epochs)
    control = recipe.trainings["noise-only"]
    assert (control.epochs, control.model) == (recipe.student.epochs, recipe.student.model)


def test_a_named_network_keeps_its_weights_and_is_the_student_s(photos: Path) -> None:
    recipe = of_photos(photos, "teacher.model.name=timm/resnet18")
    assert recipe.teacher.model.model_dump(exclude_defaults=True) == {
        "architecture": "resnet18",
        "pretrained": True,
    }
    assert recipe.student.model.model_dump(exclude_defaults=True) == {"architecture": "resnet18"}


def test_a_file_of_weights_needs_the_name_of_its_network(photos: Path) -> None:
    with pytest.raises(UserError, match=r"teacher\.model\.name must not be"):
        of_photos(photos, "teacher.model.pretrained=FILE.safetensors")


@pytest.mark.parametrize("hours", ["0", "-1", "true", '"long"', "nan"])
def test_the_budget_is_a_positive_number(photos: Path, hours: str) -> None:
    with pytest.raises(UserError, match="training_hours must be a positive number"):
        of_photos(photos, f"training_hours={hours}")


def test_a_mistake_is_found_before_networks_are_timed(photos: Path) -> None:
    def choose(workload: Workload) -> str:
        raise AssertionError(f"timed {workload}")

    with pytest.raises(UserError, match="did you mean fixmatch"):
        of_photos(photos, "student.objective=fixmach", choose=choose)


def test_only_a_network_that_was_timed_is_announced(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        of_photos(photos)
        of_photos(photos, choose=lambda workload: workload.candidates[1])
    found = [message for message in caplog.messages if "chosen: " in message]
    assert ["teacher.model.name" in message for message in found] == [False, True]


def test_unlabelled_images_need_no_classes(photos: Path) -> None:
    before = count_images(DataOptions(name=str(photos)))
    (photos / "unlabelled").mkdir()
    picture = next((photos / "train").rglob("*.png"))
    (photos / "unlabelled" / "a.png").write_bytes(picture.read_bytes())
    assert count_images(DataOptions(name=str(photos))) == before


def test_the_network_is_chosen_for_the_trainings_ahead(photos: Path) -> None:
    asked: list[Workload] = []

    def choose(workload: Workload) -> str:
        asked.append(workload)
        return workload.candidates[2]

    recipe = of_photos(photos, "teacher.epochs=3", "student.epochs=6", choose=choose)
    assert getattr(recipe.teacher.model, "architecture", None) == CANDIDATES[2]
    (workload,) = asked
    assert (workload.num_classes, workload.input_size, workload.batch_size) == (3, 224, 8)
    teacher, student = 1 / 3 + 2, 4 / 3 * 6  # a linear probe has no backward pass
    assert workload.num_images == pytest.approx(24 * (teacher + student))
    of_photos(photos, "teacher.model.name=timm/resnet18", choose=choose)
    assert len(asked) == 1


def test_costly_objectives_and_further_trainings_count(photos: Path) -> None:
    found: list[float] = []

    def choose(workload: Workload) -> str:
        found.append(workload.num_images)
        return workload.candidates[0]

    fixed = ("teacher.epochs=3", "student.epochs=6", "teacher.probe_epochs=0")
    jsd = 'student.objective={kind="jsd"}'
    fixmatch = 'student.objective={kind="fixmatch", unlabelled_ratio=2}'
    for changes in ((), (jsd,), (fixmatch,), ("control=true",)):
        of_photos(photos, *fixed, *changes, choose=choose)
    images = [round(each / 24, 6) for each in found]
    views = 1 + 2 * 2  # of a labelled image, and two of each unlabelled one
    assert images == [3 + 6 * 4 / 3, 3 + 6 * 3, 3 + 6 * views, 3 + 6 * 4 / 3 + 6]


def test_a_resumed_run_keeps_its_choices(photos: Path, tmp_path: Path) -> None:
    first = of_photos(photos, "control=true", choose=lambda workload: workload.candidates[1])
    (tmp_path / "recipe.toml").write_text(recipe_toml(first))
    colour_folder(photos, ("train",), n=600)

    def reject(workload: Workload) -> str:
        raise AssertionError(f"{workload} is measured again")

    def record_of(seed: int) -> Path:
        return tmp_path / f"recipe{seed or ''}.toml"

    assert of_photos(photos, "control=true", choose=reject, recorded=record_of) == first
    with pytest.raises(AssertionError, match="measured again"):
        of_photos(photos, "seed=1", choose=reject, recorded=record_of)


def test_few_images_show_only_large_differences(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        of_photos(photos)
    assert "30 images of 3 classes to train and validate on, 30 to test on; chosen" in caplog.text
    assert "blue has only 10 images to train on (fewer than 50)" in caplog.text
    assert f"95 % interval of an accuracy of 90 % is ±{half_width(30):.1f}" in caplog.text
    assert note_on_few({"a": 50, "b": 60}, 20) is None
    assert note_on_few({"a": 49, "b": 60}, 20) is not None


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    assert half_width(100) == pytest.approx(5.88, abs=0.01)
    assert half_width(400) == pytest.approx(half_width(100) / 2)


def test_candidates_are_timed_up_to_the_first_that_takes_too_long() -> None:
    timed: list[str] = []

    def measure(name: str) -> float:
        timed.append(name)
        return {"a": 1.0, "b": 3.0, "c": 4.0, "d": 1.0}[name]

    workload = Workload(("a", "b", "c", "d"), 3, 32, 8, 1000.0, 1.0)
    assert timed_until_too_slow(workload, 1000.0, measure) == [1000.0, 3000.0, 4000.0]
    assert timed == ["a", "b", "c"]


@pytest.mark.more
def test_a_network_is_chosen_by_its_speed_here(caplog: pytest.LogCaptureFixture) -> None:
    with_timm()
    candidates = ("test_resnet", "test_vit")
    work = Workload(candidates, 3, 32, 4, 1.0, 1.0)
    assert seconds_per_image("test_resnet", work, torch.device("cpu")) < 10
    with caplog.at_level(logging.INFO):
        assert measured_choice(work) == "test_vit"
        assert measured_choice(work._replace(num_images=1e12)) == "test_resnet"
    assert "most accurate on your data is not known beforehand" in caplog.text
    assert "is estimated to take longer than training_hours = 1" in caplog.text


def test_data_that_is_missing_is_reported_when_it_is_loaded(tmp_path: Path) -> None:
    recipe = load_recipe("photos", (f"data.name={tmp_path / 'nothing'}",))
    with pytest.raises(UserError, match="there is no data set or folder"):
        load_splits(recipe.data)


def test_a_teacher_trained_alone_keeps_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = Workload(("a", "b", "c"), 3, 32, 8, 1000.0, 1.0)
    monkeypatch.setattr(training, "choice_of_model", lambda workload: "a")
    out = tmp_path / "teacher"
    assert choice_for(out)(workload) == "a"
    assert choice_for(out, "c")(workload) == "c"  # the teacher's, for a student
    out.mkdir()
    facts = {"options": {"model": {"name": "timm", "architecture": "b"}}}
    (out / "delivered.json").write_text(json.dumps({"training": facts}))
    assert choice_for(out, "c")(workload) == "b"
    facts["options"]["model"]["architecture"] = "resnet18"  # no candidate
    (out / "delivered.json").write_text(json.dumps({"training": facts}))
    assert choice_for(out)(workload) == "a"
