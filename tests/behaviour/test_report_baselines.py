"""Baselines that are named after an assessment, and tables that leave differences out."""

from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.report import paper_table
from ruggedize.report.paper import NOTHING
from tests.behaviour.test_report_assessments import assessed


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
