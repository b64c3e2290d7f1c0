"""A generation is trained only if the one before brought a gain."""

import json
import logging
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.recipe import (
    Recipe,
    is_skipped,
    load_recipe,
    models_of,
    required_gain,
    skip_stage,
    stages_needed,
)


def delivered(folder: Path, **accuracies: float) -> None:
    """Write what stages leave that have been trained."""
    for name, accuracy in accuracies.items():
        place = folder / name.replace("_", "-")
        place.mkdir()
        (place / "delivered.json").write_text(json.dumps({"validation": {"accuracy": accuracy}}))


def skipped(folder: Path, recipe: Recipe) -> list[str]:
    """Return the stages that a run would skip, decided in order as a run does."""
    return [name for name in recipe.all_stages if decision(folder, name, recipe, record=True)]


def decision(folder: Path, name: str, recipe: Recipe, *, record: bool) -> bool:
    """Return whether a run would skip a stage."""
    needed, gain = stages_needed(recipe, name), required_gain(recipe, name)
    return skip_stage(folder, name, needed, gain, record=record)


FOUR = load_recipe("demo", ("student.generations=4",))


def test_generations_start_from_their_own_teachers_if_the_first_does() -> None:
    recipe = load_recipe("demo", ("student.generations=3", "student.start=teacher"))
    starts = {name: getattr(stage, "start", None) for name, stage in recipe.all_stages.items()}
    later = {"student-2": "student", "student-3": "student-2"}
    assert starts == {"teacher": None, "student": "teacher"} | later
    assert {getattr(stage, "start", None) for stage in FOUR.all_stages.values()} == {None}


@pytest.mark.parametrize(("second", "expected"), [(0.91, []), (0.9, ["student-3", "student-4"])])
def test_generations_stop_where_validation_does_not_improve(
    tmp_path: Path, second: float, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    delivered(tmp_path, teacher=0.99, student=0.9, student_2=second, student_3=0.95)
    with caplog.at_level(logging.WARNING):
        assert skipped(tmp_path, FOUR) == expected
    assert [name for name in FOUR.all_stages if is_skipped(tmp_path, name)] == expected
    assert len(models_of(tmp_path, FOUR)) == len(FOUR.all_stages) - len(expected)
    said = (
        "student-3: skipped, because the validation accuracy of student-2 (90.00 %) is not above "
        "that of student (90.00 %)"
    )
    assert (said in caplog.text) == bool(expected)
    follows = "student-4: skipped, because it needs student-3, which was skipped"
    assert (follows in caplog.text) == bool(expected)


@pytest.mark.parametrize("objective", ["consistency", "jsd"])
def test_the_control_is_never_the_main_result(tmp_path: Path, objective: str) -> None:
    recipe = load_recipe("demo", (f"student.objective={objective}", "control=true"))
    assert list(models_of(tmp_path, recipe)) == ["teacher", "noise-only", "student"]
    alone = load_recipe("demo", ("student.objective=jsd", "control=true", "without_teacher=true"))
    assert list(models_of(tmp_path, alone)) == ["noise-only", "student"]


def test_a_decision_is_kept_and_a_trained_model_is_not_skipped(tmp_path: Path) -> None:
    delivered(tmp_path, teacher=0.99, student=0.9, student_2=0.9, student_3=0.95)
    assert skipped(tmp_path, FOUR) == ["student-3", "student-4"]
    note = (tmp_path / "student-3/skipped.json").read_text()
    (tmp_path / "student-2/delivered.json").write_text('{"validation": {"accuracy": 0.99}}')
    assert skipped(tmp_path, FOUR) == ["student-3", "student-4"]
    assert (tmp_path / "student-3/skipped.json").read_text() == note
    for name in ("student-3", "student-4"):
        (tmp_path / name / "skipped.json").unlink()
        (tmp_path / name / "model.safetensors").touch()
    assert skipped(tmp_path, FOUR) == []


def test_other_processes_decide_alike_and_write_nothing(tmp_path: Path) -> None:
    delivered(tmp_path, teacher=0.99, student=0.9, student_2=0.9)
    assert decision(tmp_path, "student-3", FOUR, record=False)
    assert not (tmp_path / "student-3").exists()


def test_the_second_generation_needs_no_gain() -> None:
    required = {name: required_gain(FOUR, name) is not None for name in FOUR.stages}
    assert required == {"student-2": False, "student-3": True, "student-4": True}


@pytest.mark.parametrize("source", ["'teacher'", "['student', 'teacher']", "'wise'"])
def test_a_gain_needs_two_stages_to_compare(source: str) -> None:
    wise = "stages.wise={interpolate='student', start='teacher'}"
    stage = f"stages.x={{like='student', learns_from={source}, requires_gain=true}}"
    with pytest.raises(UserError, match=r"x\.requires_gain compares"):
        load_recipe("demo", (wise, stage))


def test_a_stage_may_learn_from_several(tmp_path: Path) -> None:
    more = ("stages.t2={like='teacher'}", "stages.x={like='student', learns_from=['teacher','t2']}")
    recipe = load_recipe("demo", more)
    assert recipe.trainings["x"].teachers == ("teacher", "t2")
    with pytest.raises(UserError, match=r"x\.learns_from must be an earlier stage, got t3"):
        load_recipe("demo", (more[0], more[1].replace("t2", "t3")))
    with pytest.raises(UserError, match=r'"noisy-student" requires a teacher'):
        load_recipe("demo", ("stages.x={like='student', objective='noisy-student'}",))


def test_generations_need_a_teacher() -> None:
    with pytest.raises(UserError, match=r"student\.generations needs an objective with a teacher"):
        load_recipe("fixmatch-cifar10", ("student.generations=2",))


def test_an_interpolation_of_the_student_ends_at_the_last_generation() -> None:
    wise = "stages.wise={interpolate='student', start='teacher'}"
    for number, end in ((1, "student"), (3, "student-3")):
        recipe = load_recipe("demo", (f"student.generations={number}", wise))
        assert getattr(recipe.all_stages["wise"], "interpolate", None) == end
