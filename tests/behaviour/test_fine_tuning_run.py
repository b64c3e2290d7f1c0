"""A run that fine-tunes a network of timm from a file: teacher, student from it, WiSE-FT, card."""

import json
import signal
from pathlib import Path

import pytest
import torch

from ruggedize.card import write_card
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.models import load_model
from ruggedize.pipeline import run
from ruggedize.recipe import Recipe, load_recipe
from tests.foreign import timm_weights, with_timm

pytestmark = pytest.mark.more

ORDER = ["teacher", "noise-only", "wise-teacher", "student", "wise"]


def recipe_of(file: Path) -> Recipe:
    shared = ("epochs=2", "batch_size=128", "precision=fp32", "schedule=cosine")
    optimiser = 'optimiser={kind="adamw", lr=0.002}'
    between = "alphas=[0.0, 0.5, 1.0], num_images=20"
    stages = [f"{name}.{each}" for name in ("teacher", "student") for each in (*shared, optimiser)]
    return load_recipe(
        "demo",
        (
            *stages,
            f'teacher.model={{name="timm/test_resnet", pretrained="{file}"}}',
            "teacher.probe_epochs=1",
            "student.model=timm/test_resnet",
            "student.model.drop_path_rate=0.1",
            "student.start=teacher",
            "student.layer_decay=0.8",
            "control=true",
            f'stages.wise-teacher={{interpolate="teacher", {between}}}',
            f'stages.wise={{interpolate="student", {between}}}',
            "assess.num_images=40",
            "assess.corruptions=['contrast', 'saturate']",
            "assess.severities=[5]",
        ),
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    timm_weights(path, "test_resnet", 7)
    return path


@pytest.fixture(scope="module")
def finished(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "fine"
    run(recipe_of(file), folder)
    return folder


def test_all_models_are_assessed_those_of_the_student_last(finished: Path) -> None:
    assessment = json.loads((finished / "assessment.json").read_text())
    assert list(assessment["models"]) == ORDER
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert load_model(finished / "wise" / "model.safetensors").predict(images).labels.shape == (2,)


def test_the_student_and_its_control_start_from_the_teacher(finished: Path) -> None:
    teacher = sha256(finished / "teacher" / "model.safetensors")
    for name in ("student", "noise-only"):
        note = json.loads((finished / name / "delivered.json").read_text())
        assert note["training"]["start"]["sha256"] == teacher


def test_an_interpolation_begins_where_the_training_of_all_layers_did(finished: Path) -> None:
    for name, start in (
        ("wise-teacher", "teacher/probed.safetensors"),
        ("wise", "student/initial.safetensors"),
    ):
        curve = json.loads((finished / name / "interpolation.json").read_text())
        assert curve["facts"]["parents"]["start"] == sha256(finished / start)


def test_the_report_names_starts_and_draws_the_curve(finished: Path, file: Path) -> None:
    page = (finished / "report.html").read_text()
    assert f"It started from weights.safetensors (SHA-256 {sha256(file)[:12]}), with a new" in page
    assert "It started from teacher (SHA-256" in page
    assert "the start of student (0) and student (1) at alpha = " in page
    assert "Between start and end" in page
    assert "alpha %{text}: clean" in page
    assert "a clean accuracy has a standard error of" in page


def test_the_card_names_the_weights_without_their_folder(
    finished: Path, file: Path, tmp_path: Path
) -> None:
    write_card(finished, tmp_path / "card", stage="wise")
    text = (tmp_path / "card" / "README.md").read_text()
    assert f"`weights.safetensors`: not stated (SHA-256 `{sha256(file)}`)" in text
    for path in (tmp_path / "card").glob("*"):
        assert str(file.parent).encode() not in path.read_bytes(), path.name


@pytest.mark.long
def test_a_run_interrupted_in_any_stage_ends_with_the_same_models(
    finished: Path, file: Path, tmp_path: Path
) -> None:
    left = {"teacher epoch 2/2", "student epoch 1/2", "wise-teacher alphas", "wise alphas"}

    def progress(task: str, done: int, total: int) -> None:
        if task in left and done > 1:
            left.remove(task)
            signal.raise_signal(signal.SIGINT)

    for _ in range(len(left)):
        with pytest.raises(KeyboardInterrupt):
            run(recipe_of(file), tmp_path / "run", progress=progress)
    assert not left
    run(recipe_of(file), tmp_path / "run")
    for name in ORDER:
        path = Path(name) / "model.safetensors"
        assert (tmp_path / "run" / path).read_bytes() == (finished / path).read_bytes(), name


def test_a_student_of_another_network_cannot_start_from_its_teacher(
    file: Path, tmp_path: Path
) -> None:
    with_timm()
    recipe = recipe_of(file)
    other = load_recipe("demo", ("student.model.width=8",)).student.model
    with pytest.raises(UserError, match="another network"):
        run(recipe.replaced({"student.model": other}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
