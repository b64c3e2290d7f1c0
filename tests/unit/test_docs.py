"""The pages that are written from the code are current, and their links lead somewhere."""

import re
from pathlib import Path

import pytest
from benchmarks import tables
from docs.build import DOCS, reference

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def test_the_table_of_options_is_current() -> None:
    assert (DOCS / "recipes.md").read_text() == reference(), "run `make docs` and commit the page"


def test_the_tables_of_performance_are_those_of_the_results() -> None:
    page = tables.PAGE.read_text()
    assert page == tables.filled(page), "run `python -m benchmarks.tables` and commit the page"
    assert len(tables.TABLE.findall(page)) == page.count("<!-- table:") > 0
    changed = page.replace("| fog |", "| mist |")
    assert changed != tables.filled(changed)  # it bites


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing
