"""Runs that differ only in the seed share a row, and are compared with other such groups."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ruggedize.core import files
from ruggedize.report.joining import prepared
from ruggedize.report.paper import paper_table
from ruggedize.report.record import RunRecord, read_record
from ruggedize.report.seeds import groups_of, t_interval
from ruggedize.report.side_by_side import standings
from tests.tiny_assessment import tiny_run

MODELS_OF_RUN = ("teacher", "student")


def test_runs_of_one_recipe_become_a_row_with_mean_spread_and_t_interval(tmp_path: Path) -> None:
    runs = [read_record(tiny_run(tmp_path / f"tiny-seed{seed}", seed)) for seed in range(3)]
    assert [len(group) for group in groups_of(runs)] == [3]
    teacher, student = standings(runs, None, None).rows
    assert (student.run, student.seeds, student.over_seeds) == ("tiny", [0, 1, 2], True)
    values = [[r.assessment.models[name].clean.accuracy for r in runs] for name in MODELS_OF_RUN]
    mean = sum(values[1]) / 3
    assert student.values[0]
    assert student.values[0].mean == pytest.approx(mean)
    deviation = (sum((value - mean) ** 2 for value in values[1]) / 2) ** 0.5
    assert student.values[0].deviation == pytest.approx(deviation)
    gains = [after - before for before, after in zip(*values, strict=True)]
    assert student.differences[0] == pytest.approx(t_interval(gains))
    assert set(teacher.differences) == {None}


def test_a_mean_over_seeds_is_not_compared_with_one_seed(tmp_path: Path) -> None:
    runs = [read_record(tiny_run(tmp_path / f"tiny-seed{seed}", seed)) for seed in range(2)]
    other = tiny_run(tmp_path / "other", 0)
    recipe = other / "recipe.toml"
    files.write_atomically(recipe, recipe.read_bytes() + b"validation = 5\n")
    found = standings([*runs, read_record(other)], "other/teacher", None)
    assert set(found.rows[1].differences) == {None}
    assert found.rows[3].differences[0] is not None
    assert found.not_compared == {"tiny": "a single run is not compared with a mean over seeds"}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"suite": "another"}, "another suite"),
        ({"images": {"classes": ("x",)}}, "other classes"),
        ({"suite_facts": {"preset": "scaled"}}, "corruptions that differ in preset"),
        ({}, ""),
    ],
)
def test_groups_of_seeds_on_other_images_say_why_they_are_not_compared(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    runs = []
    for place in ("one", "two"):
        runs += [tiny_run(tmp_path / place / f"{place}-seed{seed}", seed) for seed in range(2)]
    for run in runs[2:]:
        recipe = run / "recipe.toml"
        files.write_atomically(recipe, recipe.read_bytes() + b"validation = 5\n")
    records = [read_record(run) for run in runs]
    records[2:] = [altered(record, **change) for record in records[2:]]
    found = standings(records, None, None)
    assert found.not_compared == ({"two": f"it was assessed on {what}"} if what else {})
    assert bool(found.rows[3].differences[0]) == (not what)


def test_a_baseline_of_one_run_is_that_of_its_seeds(tmp_path: Path) -> None:
    runs = [read_record(tiny_run(tmp_path / f"tiny-seed{seed}", seed)) for seed in range(2)]
    name = "tiny-seed0/student"
    found = standings(prepared(runs, name), name, None)
    assert [(row.run, row.model, row.seeds) for row in found.rows] == [
        ("tiny", "student", [0, 1]),
        ("tiny", "teacher", [0, 1]),
    ]
    assert not found.not_compared


def test_groups_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = []
    for place in "ab":
        runs += [tiny_run(tmp_path / place / f"tiny-seed{seed}", seed) for seed in range(2)]
    for run in runs[2:]:
        recipe = run / "recipe.toml"
        files.write_atomically(recipe, recipe.read_bytes() + b"validation = 5\n")
    found = standings(prepared([read_record(run) for run in runs], None), None, None)
    assert [row.run for row in found.rows] == ["tiny", "tiny", "tiny (2)", "tiny (2)"]
    assert found.rows[3].over_seeds
    assert found.rows[3].differences[0]  # paired by the seeds


def test_a_run_that_shares_its_name_with_a_group_keeps_its_intervals(tmp_path: Path) -> None:
    runs = [tiny_run(tmp_path / f"tiny-seed{seed}", seed) for seed in range(2)]
    alone = tiny_run(tmp_path / "tiny", 2)
    recipe = alone / "recipe.toml"
    files.write_atomically(recipe, recipe.read_bytes() + b"validation = 5\n")
    rows = list(csv.DictReader(io.StringIO(paper_table([*runs, alone], "csv"))))
    assert {row["run"] for row in rows if row["figure"] == "clean"} == {"tiny", "tiny (2)"}
    for row in rows:
        if row["figure"] == "clean":
            assert bool(row["low"]) == bool(row["high"]) == (row["run"] == "tiny (2)")


def altered(record: RunRecord, **changes: Any) -> RunRecord:
    """Return a record with other values in its assessment; a table changes a part of it."""
    old = record.assessment
    new = {}
    for key, value in changes.items():
        before = getattr(old, key)
        if isinstance(before, dict):
            new[key] = before | value
        else:
            new[key] = before.model_copy(update=value) if isinstance(value, dict) else value
    return replace(record, assessment=old.model_copy(update=new))
