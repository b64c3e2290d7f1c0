"""A report on a run that a stranger made: nothing from elsewhere, no markup, no traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ruggedize.assess import load_predictions
from ruggedize.core.errors import UserError
from ruggedize.report import load_summary_rows, write_report
from tests.behaviour.pages import Page
from tests.behaviour.untrusted import ESCAPED, FORBIDDEN, FOREIGN, pipe
from tests.tiny_assessment import tiny_run

Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def page_of(run: Path) -> str:
    out = run.parent / "page.html"
    write_report([run], out)
    return out.read_text()


def assert_rejected(run: Path, words: str = ".") -> None:
    """Expect an error of three lines at most, and no page."""
    with pytest.raises(UserError, match=words) as caught:
        page_of(run)
    assert str(caught.value).count("\n") <= 2
    assert not (run.parent / "page.html").exists()


def changed(name: str, *keys: str | int, to: Any) -> Spoil:
    """Return a change of one entry of a JSON file."""

    def change(run: Path) -> None:
        content = place = json.loads((run / name).read_text())
        *above, last = keys
        for key in above:
            place = place[key]
        place[last] = to
        (run / name).write_text(json.dumps(content))

    return change


def test_the_run_is_fine_before_it_is_spoilt(run: Path) -> None:
    assert "data:image/png;base64," in page_of(run)


@pytest.mark.parametrize(
    "name", ["views.png", "examples", "recipe.toml", "student/metrics.jsonl", "environment.json"]
)
def test_nothing_from_outside_the_run_is_published(run: Path, name: str) -> None:
    path = next((run / name).glob("*.png")) if name == "examples" else run / name
    private = run.parent / f"private{path.suffix}"
    shutil.move(path, private)
    path.symlink_to(private)
    assert_rejected(run, "leads out of the folder")


@pytest.mark.parametrize("name", ["views.png", "examples"])
def test_what_is_not_a_png_is_not_published(run: Path, name: str) -> None:
    path = next((run / name).glob("*.png")) if name == "examples" else run / name
    path.write_text("-----BEGIN PRIVATE KEY-----")
    assert_rejected(run, "is not a PNG picture")


@pytest.mark.parametrize(
    "name", ["views.png", "recipe.toml", "environment.json", "assessment.json"]
)
def test_a_pipe_in_a_run_does_not_block(run: Path, name: str) -> None:
    pipe(run / name)
    assert_rejected(run, "is a pipe")


def test_a_picture_beyond_the_limit_is_not_published(run: Path) -> None:
    with (run / "views.png").open("r+b") as file:
        file.truncate(1 << 40)
    assert_rejected(run, "at most 67,108,864 bytes")


@pytest.mark.parametrize("name", ["../other/student", "..", "/etc", "a\\b", "a\0b", "", "."])
def test_a_model_is_named_as_one_folder(run: Path, name: str) -> None:
    shutil.copytree(run, run.parent / "other")
    text = (run / "assessment.json").read_text()
    (run / "assessment.json").write_text(text.replace('"student"', json.dumps(name)))
    assert_rejected(run, "must be a valid folder name")


def test_control_characters_do_not_reach_the_page(run: Path) -> None:
    classes = [FOREIGN + "\0", "<b>bold</b>", "\ud800", "plain"]
    changed("assessment.json", "images", "classes", to=classes)(run)
    changed("assessment.json", "suite", to=FOREIGN)(run)
    changed("environment.json", "processor", to=FOREIGN + "\ud800")(run)
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(f'# \u202e\n{recipe}\n[x]\ny = "{FOREIGN[10:12]}"\n')
    page = page_of(run)
    own_script = page.index("plotly.js v") if "plotly.js v" in page else len(page)
    assert not set(FORBIDDEN) & set(page[:own_script])
    assert ESCAPED in Page(page).text
    assert "<b>bold</b>" not in page
    assert r"# \u202e" in page


def test_names_in_figures_are_no_markup(run: Path) -> None:
    for file in ("assessment.json", "recipe.toml"):
        text = (run / file).read_text().replace('"student"', '"<a href=1>\\u202e"')
        (run / file).write_text(text)
    (run / "student").rename(run / "<a href=1>\u202e")
    (run / "predictions/student.safetensors").rename(
        run / "predictions/<a href=1>\u202e.safetensors"
    )
    page = page_of(run)
    figures = [part.partition("</script>")[0] for part in page.split("data-figure=")[1:]]
    shown = "".join(figures)
    assert "&lt;a href=1&gt;" in shown
    assert "u003ca href" not in shown
    assert "u202e" not in shown.replace(r"\\u202e", "")


@pytest.mark.parametrize("name", ["<a href='https://x'>fog</a>", "a/b", "", "Fog", "\x1b"])
def test_corruptions_have_the_names_of_corruptions(run: Path, name: str) -> None:
    text = (run / "assessment.json").read_text().replace('"contrast"', json.dumps(name))
    (run / "assessment.json").write_text(text)
    assert_rejected(run, r"damaged at models\.teacher\.cells")


SPOILT: dict[str, Spoil] = {
    "no TOML": lambda run: (run / "recipe.toml").write_text("seed = ["),
    "no text": lambda run: (run / "recipe.toml").write_bytes(b"seed = 1 # \xff"),
    "a seed that is text": lambda run: (run / "recipe.toml").write_text('seed = "x"'),
    "a stage that is a number": lambda run: (run / "recipe.toml").write_text("student = 3"),
    "stages that are a list": lambda run: (run / "recipe.toml").write_text("stages = [1]"),
    "3,000 dots": lambda run: (run / "recipe.toml").write_text("a." * 3000 + "b = 1"),
    "a list": lambda run: (run / "environment.json").write_text("[]"),
    "half a table": lambda run: (run / "environment.json").write_text("{"),
    "packages in a list": lambda run: (run / "environment.json").write_text('{"packages": [1]}'),
    "brackets": lambda run: (run / "environment.json").write_text("[" * 100_000),
    "deep brackets": lambda run: (run / "environment.json").write_text("[" * 900 + "]" * 900),
    "a row without an epoch": lambda run: (run / "student/metrics.jsonl").write_text("{}\n"),
    "a row that is text": lambda run: (run / "student/metrics.jsonl").write_text('"x"\n'),
    "a row of brackets": lambda run: (run / "student/metrics.jsonl").write_text("[" * 99_999),
    "an infinite epoch": lambda run: (run / "student/metrics.jsonl").write_text(
        '{"epoch": 1e999, "validation": {"raw": null, "averaged": null}}'
    ),
    "a loss that is text": lambda run: (run / "student/metrics.jsonl").write_text(
        '{"epoch": 1, "loss": "x", "validation": {"raw": null, "averaged": null}}'
    ),
    "a delivery of text": lambda run: (run / "student/delivered.json").write_text('{"epoch": "x"}'),
    "a delivery without the scores of the average": lambda run: (
        run / "student/delivered.json"
    ).write_text(
        '{"weights": "raw", "epoch": 1, "validation": {"accuracy": 1}, '
        '"at_epoch": {"raw": {"loss": 1, "accuracy": 1}, "veraged": null}}'
    ),
    "a delivery in a list": lambda run: (run / "student/delivered.json").write_text("[1]"),
    "no models": changed("assessment.json", "models", to={}),
    "no classes": changed("assessment.json", "images", "classes", to=[]),
    "one class": changed("assessment.json", "images", "classes", to=["a"]),
    "facts of a wrong type": changed("assessment.json", "facts", "overlaps", to=[1]),
    "no comparisons": changed("assessment.json", "comparisons", to=[]),
    "no summaries": changed("assessment.json", "models", "student", "summary", to={}),
    "other summaries": changed("assessment.json", "models", "teacher", "summary", "x", to=1.0),
    "no cells": changed("assessment.json", "models", "student", "cells", to=[]),
    "too many right": changed("assessment.json", "models", "student", "clean", "correct", to=10**9),
    "a version in a list": changed("assessment.json", "schema_version", to=[[1]]),
    "other predictions": lambda run: shutil.copy(
        run / "predictions/teacher.safetensors", run / "predictions/student.safetensors"
    ),
    "predictions of text": lambda run: (run / "predictions/student.safetensors").write_text("x"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_run_is_rejected(run: Path, name: str) -> None:
    SPOILT[name](run)
    assert_rejected(run)


def test_an_assessment_without_models_has_no_rows(run: Path) -> None:
    changed("assessment.json", "models", to={})(run)
    with pytest.raises(UserError, match="at least one model"):
        load_summary_rows(run / "assessment.json")


def test_a_lone_surrogate_and_a_model_named_as_an_option_are_shown(run: Path) -> None:
    (run / "environment.json").write_text('{"processor": "\\ud800", "packages": {}}')
    text = (run / "assessment.json").read_text().replace('"teacher"', '"seed"')
    (run / "assessment.json").write_text(text)
    (run / "teacher").rename(run / "seed")
    (run / "predictions/teacher.safetensors").rename(run / "predictions/seed.safetensors")
    assert r"\ud800" in page_of(run)


def test_long_predictions_with_holes_are_rejected_at_once(run: Path) -> None:
    path = run / "predictions/student.safetensors"
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    rows, end = 1 << 31, 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = {"I64": 8, "I16": 2, "F32": 4}[entry["dtype"]]
            entry["shape"] = [rows, *entry["shape"][1:]]
            for side in entry["shape"]:
                size *= side
            entry["data_offsets"], end = [end, end + size], end + size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    with pytest.raises(UserError, match="damaged, or contains no predictions"):
        load_predictions(path, 120)
    assert_rejected(run, "damaged, or contains no predictions")
