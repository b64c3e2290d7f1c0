"""Baselines that are named after an assessment, and tables that leave differences out."""

from dataclasses import replace
from pathlib import Path

import pytest

from ruggedize.assess import AssessmentFacts
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.data import DataDigest
from ruggedize.data.digest import PartDigest
from ruggedize.report import paper_table
from ruggedize.report.paper import NOTHING
from ruggedize.report.record import RunRecord, read_record
from ruggedize.report.side_by_side import standings
from tests.behaviour.test_report_assessments import assessed
from tests.tiny_assessment import tiny_run


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    """Two assessments of the same images, whose models have other names than the files."""
    return [assessed(tmp_path / "first.json", "near"), assessed(tmp_path / "second.json", "far")]


def test_a_baseline_may_be_named_after_its_assessment(places: list[Path]) -> None:
    table = paper_table(places, "md", baseline="second")
    assert "Difference from far in percentage points" in table
    for name in ("far", "second/far"):
        assert table == paper_table(places, "md", baseline=name)


def test_the_names_in_the_error_are_accepted(places: list[Path], tmp_path: Path) -> None:
    places.append(assessed(tmp_path / "third.json", "near", seed=1))
    with pytest.raises(UserError) as error:
        paper_table(places, "md", baseline="fat")
    names = str(error.value).partition("only ")[2].partition(";")[0].split(", ")
    assert {"second", "first + second/far", "third/near"} <= {*names}
    for name in names:
        paper_table(places, "md", baseline=name)


def test_a_table_says_why_differences_and_mce_are_missing(tmp_path: Path) -> None:
    one = assessed(tmp_path / "one.json", "near")
    fewer = assessed(tmp_path / "fewer.json", "far", seed=1)
    table = paper_table([one, fewer], "md", baseline="near")
    assert "fewer has no differences, because it was assessed on other test images." in table
    first = table.split("\n\n")[1].splitlines()
    assert first[0].endswith("| mCE | relative mCE |")
    assert first[3].endswith(f"| {NOTHING} | {NOTHING} |")


def test_a_name_of_two_assessments_is_no_baseline(tmp_path: Path) -> None:
    one = assessed(tmp_path / "a" / "same.json", "near")
    other = assessed(tmp_path / "b" / "same.json", "far")
    with pytest.raises(UserError, match="no model same in this report"):
        paper_table([one, other], "md", baseline="same")
    assert "Difference from far" in paper_table([one, other], "md", baseline="far")


@pytest.mark.parametrize("content", ["a", "b"])
def test_groups_of_seeds_on_another_folder_are_not_compared(tmp_path: Path, content: str) -> None:
    records = []
    for place, digest in (("one", "a"), ("two", content)):
        for seed in range(2):
            folder = tiny_run(tmp_path / place / f"{place}-seed{seed}", seed)
            if place == "two":
                recipe = folder / "recipe.toml"
                files.write_atomically(recipe, recipe.read_bytes() + b"validation = 5\n")
            records.append(on_folder(read_record(folder), digest))
    found = standings(records, None, None)
    expected = {} if content == "a" else {"two": "it was assessed on other test images"}
    assert found.not_compared == expected
    assert bool(found.rows[3].differences[0]) == (content == "a")


def on_folder(record: RunRecord, content: str) -> RunRecord:
    """Return a record that was assessed on a folder with this digest."""
    part = PartDigest(images=120, labels="0", content=content)
    facts = AssessmentFacts(data=DataDigest(place="photos", parts={"test": part}))
    return replace(record, assessment=record.assessment.model_copy(update={"facts": facts}))
