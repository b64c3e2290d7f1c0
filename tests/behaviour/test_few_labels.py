"""A run with few labels: unlabelled images, pseudo-labels, several teachers, a skipped stage."""

import json
from pathlib import Path

import pytest

from tests.behaviour.pages import Page
from tests.behaviour.runs import ruggedize, tiny_demo

pytestmark = pytest.mark.more

HOPELESS = "optimiser={kind='sgd', lr=1e-9}, averaging='none', epochs=1"
CHANGES = (
    "data.num_labels=200",
    "student.objective={kind='noisy-student', unlabelled_ratio=2, threshold=0.0}",
    "stages.match={like='student', objective={kind='fixmatch', unlabelled_ratio=2, threshold=0.1}}",
    f"stages.worse={{like='student', learns_from='student', {HOPELESS}}}",
    "stages.next={like='student', learns_from='worse', requires_gain=true}",
    "stages.after={like='student', learns_from='next'}",
    "stages.both={like='student', learns_from=['teacher', 'student'], epochs=1}",
)
MODELS = ["teacher", "match", "student", "worse", "both"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("few") / "run"
    result = ruggedize(*tiny_demo(out, *CHANGES))
    assert result.returncode == 0, result.stderr
    assert "next: skipped, because the validation accuracy of worse" in " ".join(
        result.stderr.split()
    )
    return out


def last_row(folder: Path, stage: str) -> dict:
    return json.loads((folder / stage / "metrics.jsonl").read_text().splitlines()[-1])


def test_all_stages_but_the_skipped_ones_are_assessed(finished: Path) -> None:
    assessment = json.loads((finished / "assessment.json").read_text())
    assert list(assessment["models"]) == MODELS
    assert assessment["facts"]["data"]["chosen"]
    assert not (finished / "next" / "model.safetensors").exists()
    assert "worse" in json.loads((finished / "next/skipped.json").read_text())["reason"]


def test_pseudo_labels_are_logged_and_drawn(finished: Path) -> None:
    for stage in ("student", "match"):
        row = last_row(finished, stage)
        assert 0 < row["confident"] <= 1
        assert 0 < row["pseudo_label_accuracy"] <= 1
        assert row["unlabelled_entropy"] > 0
    assert "confident" not in last_row(finished, "teacher")
    page = (finished / "report.html").read_text()
    assert "pseudo-labels correct" in page
    text = Page(page[: page.index("</main>")]).text
    assert "next was skipped: the validation accuracy of worse" in text
    assert "after was skipped: it needs next, which was skipped" in text


def test_a_stage_learns_from_several(finished: Path) -> None:
    note = json.loads((finished / "both" / "delivered.json").read_text())
    assert [*note["training"]["parents"]] == ["teacher", "student"]
    assert note["training"]["images"]["training"] == 200


def test_the_run_is_finished_without_the_skipped_stages(finished: Path) -> None:
    result = ruggedize(*tiny_demo(finished, *CHANGES))
    assert result.returncode == 0, result.stderr
    assert "was already finished" in result.stdout


def test_other_labels_are_another_run(finished: Path) -> None:
    result = ruggedize(*tiny_demo(finished, *CHANGES, "data.label_seed=1"))
    assert result.returncode == 2
    assert "data.label_seed" in result.stderr


def test_an_objective_without_unlabelled_images_is_rejected_at_once(tmp_path: Path) -> None:
    result = ruggedize(*tiny_demo(tmp_path / "run", "student.objective=fixmatch"))
    assert result.returncode == 2
    assert "student: the objective fixmatch needs unlabelled images" in " ".join(
        result.stderr.split()
    )
    assert not (tmp_path / "run/teacher").exists()


def test_unlabelled_images_that_nothing_uses_are_mentioned(tmp_path: Path) -> None:
    result = ruggedize(*tiny_demo(tmp_path / "run", "data.num_labels=200", "teacher.epochs=1"))
    assert "no stage uses the 376 unlabelled images" in " ".join(result.stderr.split())
