"""The studies of the repository run: every arm, on a few digits with tiny networks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks import four_classes

from ruggedize.recipe import Recipe, load_recipe
from ruggedize.study import PlannedRun, Study, load_study, load_summaries, perform, plan
from ruggedize.study.arithmetic import TrainingImages, work_of
from tests.foreign import with_timm

FOLDER = Path(__file__).parents[2] / "benchmarks" / "studies"
FINE_TUNING = FOLDER / "four-classes-50.toml"
STUDIES = [path for path in sorted(FOLDER.glob("*.toml")) if "four-classes" not in path.stem]
IMAGES = TrainingImages(num_images=96, num_classes=10, image_size=32)
SHORT = {"epochs": 1, "batch_size": 32, "model": {"width": 8}}
TINY = {
    "data": {"name": "digits", "num_train": 96, "validation": 40},
    "teacher": SHORT,
    "student": SHORT,
    "assess": {
        "num_images": 20,
        "corruptions": ["brightness"],
        "severities": [5],
        "corruption_options": {"frost": {"textures": "procedural"}},
    },
}


def tiny_recipe(study: Study, arm: str) -> Recipe:
    """Return the recipe of an arm at a size that takes seconds; longer teachers stay longer."""
    recipe = study.recipe(arm, 0)
    shortest = min(study.recipe(each, 0).teacher.epochs for each in study.tables)
    teacher = {"epochs": 1 if recipe.teacher.epochs == shortest else 2}
    tables = [study.options.recipe, study.tables[arm], TINY, {"teacher": teacher}]
    if "num_labels" in study.options.recipe["data"]:
        steps = {"steps_per_epoch": 8}
        has_more = "num_labels" in study.tables[arm].get("data", {})  # than other arms
        data = {"num_labels": 80 if has_more else 40, "num_train": 200}
        tables.append({"data": data, "teacher": steps, "student": steps})
    if recipe.student.objective.kind == "noisy-student":  # tiny teachers are not confident
        tables.append({"student": {"objective": {"threshold": 0.0}}})
    return load_recipe(study.options.base, tables=tables)


def marked(paths: list[Path]) -> list[Any]:
    """Mark the largest studies as long; smaller ones cover the same objectives."""
    many = ("screening", "mini-factors")
    marks = {path: [pytest.mark.long] if path.stem in many else [] for path in paths}
    return [pytest.param(path, id=path.stem, marks=marks[path]) for path in paths]


@pytest.mark.more
@pytest.mark.parametrize("path", marked(STUDIES))
def test_every_arm_of_a_shipped_study_trains_and_is_summarised(path: Path, tmp_path: Path) -> None:
    study = load_study(path)
    study = replace(study, options=study.options.model_copy(update={"results": None}))
    runs = []
    for arm in study.tables:
        recipe = tiny_recipe(study, arm)
        work = work_of(recipe, IMAGES)
        runs.append(PlannedRun(arm=arm, seed=0, recipe=recipe, budget=None, work=work))
    for run in runs:
        perform(study, run, runs, tmp_path)
    summaries = {each.arm: each for each in load_summaries(tmp_path / "results")}
    assert summaries.keys() == study.tables.keys()
    results = [list(each.stages.values())[-1].model for each in summaries.values()]
    assert len(set(results)) == len(results), "two arms are the same"
    for arm, each in summaries.items():
        assert ("teacher" in each.stages) == (not study.tables[arm].get("without_teacher", False))


@pytest.mark.long
def test_the_fine_tuning_study_runs_on_what_its_script_writes(
    cifar10_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_timm()
    monkeypatch.setattr(four_classes, "SIZES", (50,))
    monkeypatch.setattr(four_classes, "NUM_PRETRAINING", 20)
    monkeypatch.setattr(four_classes, "NUM_TEST", 5)
    monkeypatch.setitem(four_classes.PRETRAINING, "epochs", 1)
    monkeypatch.setattr("sys.argv", ["", str(tmp_path), "--cifar10", str(cifar10_root)])
    four_classes.main()
    monkeypatch.chdir(tmp_path)
    study = load_study(FINE_TUNING)
    options = study.options.model_copy(
        update={"results": None, "budget": None, "seeds": (0,)}, deep=True
    )
    options.recipe.update(teacher={"epochs": 3}, student={"epochs": 3}, assess={"num_images": 20})
    budgets = dict.fromkeys(study.tables)
    seeds = dict.fromkeys(study.tables, (0,))
    study = replace(study, options=options, budgets=budgets, seeds=seeds)
    (run,) = [run for run in plan(study, ('data.root="."',)) if run.arm == "consistency-wise"]
    perform(study, run, [run], tmp_path / "runs")
    (found,) = load_summaries(tmp_path / "runs" / "results")
    assert found.images == {"training": 160, "validation": 40, "test": 20}
    assert list(found.stages) == ["teacher", "student", "wise"]
    assert found.pflop > 0
    assert str(tmp_path) not in found.model_dump_json()
