"""The pages that are generated from the code are current, and all pages can be reached."""

import re
from pathlib import Path

import pytest
from benchmarks import tables
from docs.build import DOCS, reference

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)(?:#([^)]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs name them."""
    headings = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def navigation() -> str:
    """Return the part of mkdocs.yml that lists the pages."""
    return (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]


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
    for link, anchor in LINK.findall(page.read_text()):
        target = page.parent / link
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), f"{link}#{anchor}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"^ +- .+: ([\w/-]+\.md)$", navigation(), re.MULTILINE))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    generated = {name for name in listed if name.startswith("reference/")} | {"tutorial.md"}
    assert listed - generated == pages - {"tutorial.source.md"}
