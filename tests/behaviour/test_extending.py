"""The examples of docs/extending.md are short; test_printed_examples.py runs them."""

from pathlib import Path

from tests.printed_examples import examples_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
LONGEST = 25  # lines


def test_every_example_runs_and_is_short() -> None:
    examples = examples_of(PAGE)
    assert len(examples) == PAGE.read_text().count("```python") >= 5
    for example in examples:
        lines = [line for line in example.text.splitlines() if line.strip()]
        assert len(lines) <= LONGEST, example.line
