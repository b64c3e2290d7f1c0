"""The report compares the last model with a control: noisy views, the labels alone."""

from pathlib import Path

import pytest

from ruggedize.core import files
from ruggedize.report import compare, write_report
from ruggedize.report.record import read_run
from ruggedize.report.wording import control_sentence, points
from tests.behaviour.pages import Page
from tests.tiny_assessment import tiny_run

STUDENT = '[student]\nlearns_from = "teacher"\n[student.objective]\nkind = "consistency"\n'
NOISY = '[teacher]\nviews = "noisy"\n[teacher.objective]\nkind = "supervised"\n'


def run_of(folder: Path, recipe: str, models: tuple[str, ...] = ("teacher", "student")) -> Path:
    """Make a run whose recipe has these stages."""
    tiny_run(folder, models=models)
    path = folder / "recipe.toml"
    files.write_atomically(path, path.read_bytes() + recipe.encode())
    return folder


def sentence_of(folder: Path) -> str:
    record = read_run(folder)
    rows = compare.summary_rows(record.assessment)
    return control_sentence(record, rows, compare.over_control(record, rows))


def test_the_gain_over_the_control_is_a_paired_difference(tmp_path: Path) -> None:
    """With the baseline as the control it is the assessment's own comparison."""
    record = read_run(run_of(tmp_path / "run", NOISY + STUDENT))
    rows = compare.summary_rows(record.assessment)
    found = compare.over_control(record, rows)
    assert record.control == "teacher"
    assert len(found) == 3
    assert found == {row.name: row.comparisons["student"] for row in rows if row.name in found}
    sentence = sentence_of(tmp_path / "run")
    assert all(points(one.difference) in sentence for one in found.values())
    write_report([tmp_path / "run"], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert sentence.partition(" (")[0] in Page(html[: html.index("</main>")]).text


def test_a_run_without_a_control_says_so_and_how_to_train_one(tmp_path: Path) -> None:
    sentence = sentence_of(run_of(tmp_path / "run", STUDENT))
    assert "No control was trained" in sentence
    assert "--set control=true" in sentence


@pytest.mark.parametrize("recipe", ["", NOISY, NOISY.replace("teacher", "student")])
def test_nothing_is_said_where_the_last_model_is_no_student(tmp_path: Path, recipe: str) -> None:
    assert sentence_of(run_of(tmp_path / "run", recipe)) == ""


def test_one_model_has_no_control(tmp_path: Path) -> None:
    assert sentence_of(run_of(tmp_path / "run", STUDENT, models=("student",))) == ""


@pytest.mark.parametrize(
    ("kind", "teacher"), [("consistency", "teacher"), ("mean-teacher", None), ("jsd", None)]
)
def test_only_an_objective_with_a_teacher_has_one(
    tmp_path: Path, kind: str, teacher: str | None
) -> None:
    record = read_run(run_of(tmp_path / "run", STUDENT.replace("consistency", kind)))
    assert record.teacher_of("student") == teacher
    assert record.teacher_of("teacher") is None
