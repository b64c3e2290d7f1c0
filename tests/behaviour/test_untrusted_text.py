"""Foreign text is escaped where it leaves the program: errors, log lines, tables, bars, CSV."""

import csv
import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ruggedize.cli import display, main
from ruggedize.core.errors import shown, shown_lines
from ruggedize.data import load_data
from ruggedize.models import ResNet9Options, create_model, save_model
from tests.behaviour.runs import command, env
from tests.behaviour.untrusted import ESCAPED, FORBIDDEN, FOREIGN, photographs, ran

pytestmark = pytest.mark.more


def test_control_characters_marks_and_surrogates_are_escaped_once() -> None:
    assert shown(FOREIGN) == ESCAPED
    assert shown(ESCAPED) == ESCAPED
    assert not set(FORBIDDEN) & set(shown(FORBIDDEN))
    assert shown("\ud800\n\t") == r"\ud800\n\t"
    assert shown_lines(f"a\n{FOREIGN}") == f"a\n{ESCAPED}"
    assert shown("Äpfel, 梨 und 🍐") == "Äpfel, 梨 und 🍐"


def test_an_error_is_printed_without_commands_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ruggedize"])
    with pytest.raises(SystemExit):
        main.exit_with_error(f"{FOREIGN} is wrong;\ncorrect it")
    assert capsys.readouterr().err == f"ruggedize: {ESCAPED} is wrong;\ncorrect it\n"


def test_a_log_line_and_a_traceback_are_printed_without_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s\nnext", (FOREIGN,), None)
    assert display.Messages().format(record) == f"WARNING: {ESCAPED}\nnext"
    try:
        raise ValueError(FOREIGN)
    except ValueError as error:
        main.print_traceback(ValueError, error, error.__traceback__)
    printed = capsys.readouterr().err
    assert f"ValueError: {ESCAPED}\n" in printed
    assert not set(FORBIDDEN) & set(printed)


def test_tables_lines_and_tasks_are_printed_without_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    display.console.print(display.table(FOREIGN, [FOREIGN, "b"], [[FOREIGN, f"{FOREIGN}\n"]]))
    display.console.print(f"data: {FOREIGN}", soft_wrap=True)
    with display.Bars() as bars:
        bars(FOREIGN, 1, 1)
    printed = "".join(capsys.readouterr())
    assert printed.count(ESCAPED) >= 5
    assert not set(FORBIDDEN) & set(printed)


def test_formulas_are_quoted_in_csv_and_numbers_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    cells = ["=1+1", "+a", "-a", "@a", "\t=1", "-0.5", "+3", "1e-5", "a=b", FOREIGN]
    display.print_csv(["=x"], [cells])
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["'=x"]
    assert row == ["'=1+1", "'+a", "'-a", "'@a", r"'\t=1", "-0.5", "+3", "1e-5", "a=b", ESCAPED]


@pytest.mark.parametrize("form", [(), ("--csv",)])
def test_classes_of_a_model_are_printed_without_commands(
    tmp_path: Path, form: tuple[str, ...]
) -> None:
    save_model(
        create_model(ResNet9Options(width=8), (FOREIGN, f"={FOREIGN}"), 16, 16, seed=0),
        tmp_path / "m.safetensors",
    )
    photographs(tmp_path / "photos", ("apple",), 1)
    status, said = ran("predict", tmp_path / "m.safetensors", tmp_path / "photos", *form)
    assert status == 0, said
    assert r"\u202eb\u2066c\u200fd" in said
    assert not set(FORBIDDEN) & set(said)


def test_recipes_and_suites_of_foreign_names_are_rejected_without_commands(tmp_path: Path) -> None:
    key = json.dumps(FOREIGN).strip('"')
    (tmp_path / "r.toml").write_text(f'base = "demo"\n[teacher]\n"{key}" = 3\n')
    for recipe in ("r.toml", FOREIGN):
        status, said = ran("run", recipe, "--out", "out", cwd=tmp_path)
        assert status == 2
        assert r"\u202eb\u2066c" in said
        assert not set(FORBIDDEN) & set(said)
        assert len(said.splitlines()) <= 3


@pytest.mark.parametrize("what", ["no classes", "an input of one pixel"])
def test_a_model_that_cannot_predict_is_rejected(tmp_path: Path, what: str) -> None:
    path = tmp_path / "m.safetensors"
    save_model(create_model(ResNet9Options(width=8), ("aa", "bb"), 16, 16, seed=0), path)
    data = path.read_bytes()
    if what == "no classes":
        wrong = data.replace(rb"[\"aa\", \"bb\"]", b"[" + b" " * 12 + b"  ]")
    else:
        wrong = data.replace(rb"\"input_size\": 16", rb"\"input_size\":  1")
    assert wrong != data
    assert len(wrong) == len(data)
    path.write_bytes(wrong)
    photographs(tmp_path / "photos", ("apple",), 1)
    status, said = ran("predict", path, tmp_path / "photos")
    assert status == 2, said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 3


@pytest.mark.parametrize("what", ["dots", "bases", "brackets"])
def test_recipes_that_are_too_deep_are_rejected(tmp_path: Path, what: str) -> None:
    if what == "dots":
        (tmp_path / "0.toml").write_text(f'base = "demo"\n{"a." * 3000}b = 1\n')
    elif what == "bases":
        for number in range(1200):
            (tmp_path / f"{number}.toml").write_text(f'base = "{number + 1}.toml"\n')
        (tmp_path / "1200.toml").write_text('base = "demo"\n')
    else:
        (tmp_path / "0.toml").write_text(f"a = {'[' * 900}{']' * 900}\n")
    status, said = ran("run", "0.toml", cwd=tmp_path)
    assert status == 2, said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 3


def test_a_line_break_and_a_literal_one_are_two_classes(tmp_path: Path) -> None:
    photographs(tmp_path / "train", ("a\nb", r"a\nb", "plain"))
    found = load_data(tmp_path, image_size=16, validation=0.2)
    assert found.train.classes == (r"a\\nb", r"a\nb", "plain")
    assert sum(map(len, (found.train, found.validation, found.test))) == 18


def test_what_a_recipe_lists_on_the_terminal_has_no_escapes_of_its_own() -> None:
    done = subprocess.run(command("recipes"), capture_output=True, text=True, env=env())
    assert "\\" not in done.stdout
