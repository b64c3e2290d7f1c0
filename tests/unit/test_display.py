"""Tables in the terminal: texts begin at one edge, figures end at one."""

import pytest

from ruggedize.commands import recipes
from ruggedize.display import table


def test_texts_stand_left_and_figures_right() -> None:
    shown = table("", ["image", "class", "sure"], [["a.png", "cat", "0.5"]], num_texts=2)
    assert [column.justify for column in shown.columns] == ["left", "left", "right"]
    assert [column.justify for column in table("", ["a", "b"], []).columns] == ["left", "right"]


def test_what_a_recipe_does_begins_at_one_edge(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    recipes()
    cells = [line.split("│")[2] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert len(cells) > 4
    assert all(cell[0] == " " and cell[1] != " " for cell in cells)
