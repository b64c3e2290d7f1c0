"""The tutorial's notebook is current, and its code runs."""

import json
from collections.abc import Sequence

import pytest
from docs.notebook import NOTEBOOK, SOURCE, cells_of, execute, page_of, reuse_outputs

import ruggedize
from ruggedize.recipe import Recipe
from tests.printed_examples import ASSESS_LESS, SHORTER

LARGEST = 300_000  # bytes


def test_the_notebook_is_current() -> None:
    former = json.loads(NOTEBOOK.read_text())["cells"]
    cells = cells_of(SOURCE.read_text())
    assert reuse_outputs(cells, former), "run `python -m docs.notebook` and commit the notebook"
    assert cells == former, "run `python -m docs.notebook` and commit the notebook"
    assert not reuse_outputs(cells_of(SOURCE.read_text().replace("seed=0", "seed=1")), former)


def test_the_notebook_is_small_and_was_executed() -> None:
    assert NOTEBOOK.stat().st_size < LARGEST
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/png" in str(cell["outputs"]) for cell in code) == 2


def test_each_variant_is_a_tab_beside_its_cell() -> None:
    page = page_of(json.loads(NOTEBOOK.read_text()))
    assert page.count('=== "Digits"') == page.count('=== "CIFAR-10"') >= 5
    assert "On CIFAR-10:" not in page  # this is for the notebook alone
    assert "data:image/png;base64," in page


@pytest.mark.more
def test_the_tutorial_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ruggedize.load_recipe
    shorter = [change.replace("width=8", "width=16") for change in (*SHORTER, *ASSESS_LESS)]

    def load_shorter(name: str, changes: Sequence[str] = ()) -> Recipe:
        return whole(name, (*shorter, *changes))

    monkeypatch.setattr(ruggedize, "load_recipe", load_shorter)
    cells = cells_of(SOURCE.read_text())
    execute(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    kept = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    for cell, former in zip(code, kept, strict=True):
        kinds = [[output["output_type"] for output in c["outputs"]] for c in (cell, former)]
        assert kinds[0] == kinds[1], cell["source"]
    assert code[0]["outputs"] == kept[0]["outputs"]  # the sizes of the splits
    assert code[-1]["outputs"] != kept[-1]["outputs"]  # one epoch each teaches less
