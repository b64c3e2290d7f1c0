"""Stages beyond teacher and student: generations and a control, through run, assess and report."""

import json
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.pipeline import run
from ruggedize.recipe import load_recipe
from tests.behaviour.pages import Page
from tests.behaviour.runs import ruggedize, tiny_demo

pytestmark = pytest.mark.more

MORE = ("control=true", "student.generations=2")
MODELS = ["teacher", "noise-only", "student", "student-2"]  # those without a teacher come first


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stages") / "run"
    result = ruggedize(*tiny_demo(out, *MORE))
    assert result.returncode == 0, result.stderr
    return out


def parents(folder: Path, stage: str) -> list[str]:
    note = json.loads((folder / stage / "delivered.json").read_text())
    return [*note["training"]["parents"]]


def test_all_stages_are_trained_and_assessed(finished: Path) -> None:
    assessment = json.loads((finished / "assessment.json").read_text())
    assert list(assessment["models"]) == MODELS
    compared = {(found["baseline"], found["model"]) for found in assessment["comparisons"]}
    assert compared == {("teacher", name) for name in MODELS[1:]}
    page = (finished / "report.html").read_text()
    assert all(name in page for name in MODELS)


def test_the_report_holds_for_more_stages_than_teacher_and_student(finished: Path) -> None:
    html = (finished / "report.html").read_text()
    html = html[: html.index("</main>")]
    text = Page(html).text
    assert "student-2 \N{MINUS SIGN} noise-only, the control" in text
    assert "No control was trained" not in text
    assert "student was" not in text
    assert '"teacher, teaching student"' in html  # in the figure of the entropies
    assert '"student, teaching student-2"' in html
    assert "noise-only, teaching" not in html


def test_a_generation_learns_from_the_student_and_the_control_from_nobody(finished: Path) -> None:
    assert parents(finished, "student") == ["teacher"]
    assert parents(finished, "student-2") == ["student"]
    assert parents(finished, "noise-only") == []
    rows = (finished / "noise-only" / "metrics.jsonl").read_text().splitlines()
    assert "consistency" not in json.loads(rows[-1])
    rows = (finished / "student-2" / "metrics.jsonl").read_text().splitlines()
    assert "consistency" in json.loads(rows[-1])


def test_what_is_finished_is_not_done_again(finished: Path) -> None:
    before = (finished / "student-2" / "model.safetensors").stat().st_mtime_ns
    result = ruggedize(*tiny_demo(finished, *MORE))
    assert "was already finished" in result.stdout
    (finished / "student-2" / "model.safetensors").unlink()
    kept = (finished / "student" / "model.safetensors").stat().st_mtime_ns
    assert ruggedize(*tiny_demo(finished, *MORE)).returncode == 0
    assert (finished / "student" / "model.safetensors").stat().st_mtime_ns == kept
    assert (finished / "student-2" / "model.safetensors").stat().st_mtime_ns > before


def test_assess_takes_all_models_of_a_run(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.json"
    options = ["--corruptions", "contrast", "--severities", "5", "--num-images", "50"]
    result = ruggedize("assess", finished, *options, "--out", out)
    assert result.returncode == 0, result.stderr
    assert list(json.loads(out.read_text())["models"]) == MODELS


def test_a_run_without_the_stages_is_another_run(finished: Path) -> None:
    result = ruggedize(*tiny_demo(finished))
    assert result.returncode == 2
    assert "stages.noise-only" in result.stderr


def test_sugar_and_stages_spelled_out_are_the_same_recipe(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'base = "demo"\n[stages.noise-only]\nlike = "student"\nviews = "noisy"\n'
        'objective = "supervised"\n[stages.student-2]\nlike = "student"\nlearns_from = "student"\n'
    )
    assert load_recipe(own) == load_recipe("demo", MORE)
    assert load_recipe("demo", ("control=true",)) != load_recipe("demo", MORE)


def test_a_control_beside_a_stage_of_its_name_is_rejected() -> None:
    own = "stages.noise-only={like='student', objective='jsd'}"
    assert "noise-only" in load_recipe("demo", (own,)).stages
    with pytest.raises(UserError, match="remove one of them"):
        load_recipe("demo", (own, "control=true"))


def test_microbatches_are_checked_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="student: microbatches = 4 would change"):
        run(load_recipe("demo", ("student.microbatches=4",)), tmp_path / "run")
    assert not (tmp_path / "run" / "teacher").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("student.generations=0", "generations must be a whole number"),
        ("control=3", "control must be true or false"),
        ("stages.student={}", "a stage name"),
        ("stages.x={like='student-7'}", "must be an earlier stage"),
        ("stages.x={like='student', learns_from='y'}", "must be an earlier stage"),
        (
            "stages.x={like='student', views='noisy'}",
            "views applies to the supervised objective only",
        ),
        ("student.objective=jds", "objective"),
        ("stages.x={like='student'}", "requires a teacher; set learns_from"),
    ],
)
def test_impossible_stages_are_rejected(change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("demo", (change,))
