"""The README is short, and its examples are those that test_printed_examples.py runs."""

from pathlib import Path

from docs.picture import PICTURE
from PIL import Image

from tests.printed_examples import examples_of

README = Path(__file__).resolve().parents[2] / "README.md"


def test_it_fits_on_a_few_screens() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_all_of_its_python_and_its_recipe_run() -> None:
    text, examples = README.read_text(), examples_of(README)
    for language in ("python", "toml"):
        marked = [example for example in examples if example.language == language]
        assert len(marked) == text.count(f"```{language}\n") >= 1
    commands = [example for example in examples if example.language == "console"]
    assert {"assess", "run", "views", "predict"} <= set(" ".join(e.text for e in commands).split())


def test_training_from_python_takes_few_lines() -> None:
    (example,) = (e for e in examples_of(README) if "train_student" in e.text)
    assert len([line for line in example.text.splitlines() if line and "import" not in line]) <= 14


def test_its_picture_is_small() -> None:
    assert f"]({PICTURE.relative_to(README.parent)})" in README.read_text()
    assert PICTURE.stat().st_size < 150_000
    assert Image.open(PICTURE).width >= 1000
