"""Every example of docs/extending.md runs as it is printed, and is short."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
LONGEST = 36  # lines


def examples() -> dict[str, str]:
    """Return the code of each section by its title."""
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        title = section.partition("\n")[0]
        for code in re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
            found[title] = code
    return found


@pytest.mark.more
@pytest.mark.parametrize("title", examples())
def test_the_example_runs_as_printed(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = examples()[title]
    exec(compile(code, f"docs/extending.md, {title}", "exec"), {"__name__": "example"})
    assert any(tmp_path.iterdir()), "it left nothing"


def test_the_examples_are_short() -> None:
    assert len(examples()) >= 4
    for title, code in examples().items():
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= LONGEST, title
