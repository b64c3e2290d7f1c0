"""Tables and progress: columns begin or end at one edge; lines where there is no terminal."""

import contextlib
import logging
import os
import subprocess
import sys
import time

import pytest

from ruggedize.cli.display import Bars, Messages, table
from ruggedize.cli.training import recipes
from ruggedize.core.progress import EpochTask, time_left


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


def lines_of(
    task: str,
    seconds: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> list[str]:
    """Return the lines of a task whose progress is reported at these times, without a terminal."""
    with Bars() as bars:
        for number, now in enumerate(seconds, 1):
            monkeypatch.setattr(time, "monotonic", lambda now=now: now)
            bars(task, 10 * number, 10 * len(seconds))
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_a_long_task_has_a_line_each_minute_and_at_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = [0.0, 30.0, 59.0, 61.0, 90.0, 122.0, 130.0]
    assert lines_of("assess", times, monkeypatch, capsys) == [
        "assess: 40 of 70, about 61 s left",
        "assess: 60 of 70, about 24 s left",
        "assess: 70 of 70",
    ]
    assert lines_of("assess", times[:3], monkeypatch, capsys) == ["assess: 30 of 30"]


def test_without_a_terminal_an_epoch_s_end_is_left_to_its_own_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = EpochTask("teacher epoch 1/2")
    assert lines_of(task, [0.0, 61.0, 62.0], monkeypatch, capsys) == [
        "teacher epoch 1/2: 20 of 30, about 61 s left"
    ]
    assert lines_of(str(task), [0.0, 1.0], monkeypatch, capsys) == ["teacher epoch 1/2: 20 of 20"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (89.4, "89 s"), (150, "2 min"), (5300, "88 min"), (7500, "2 h 5 min")],
)
def test_durations_are_rough(seconds: float, text: str) -> None:
    assert time_left(seconds) == f"about {text} left"


def test_warnings_carry_their_level_and_notes_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    messages = Messages()
    for level in (logging.INFO, logging.WARNING):
        messages.handle(logging.LogRecord("x", level, "", 0, "%d images", (3,), None))
    assert capsys.readouterr().err.splitlines() == ["3 images", "WARNING: 3 images"]


WORK = """
import logging
from ruggedize.cli.main import begin_logging
from ruggedize.cli.display import Bars
from ruggedize.core.progress import EpochTask
begin_logging()
task = EpochTask("teacher epoch 1/2")
with Bars() as bars:
    bars(task, 1, 2)
    logging.getLogger("ruggedize.train.loop").info("%s: bf16 on %s", "teacher", "cpu")
    bars(task, 2, 2)
    logging.getLogger("ruggedize.train.loop").info("%s: %s", task, "loss 2.5")
"""
BAR, LINE, NOTE = "2/2", "teacher epoch 1/2: loss 2.5", "teacher: bf16 on cpu"
NEUTRAL = ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM")


def output(is_terminal: bool, **environment: str) -> str:
    """Return what reaches standard error, a terminal or a file, of some work that is shown."""
    kept = {key: value for key, value in os.environ.items() if key not in NEUTRAL}
    command = [sys.executable, "-c", WORK]
    env = kept | {"COLUMNS": "150", "TERM": "xterm"} | environment
    if not is_terminal:
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stderr
    reader, writer = os.openpty()
    subprocess.run(command, env=env, stderr=writer, check=True)
    os.close(writer)
    text = b""
    with contextlib.suppress(OSError):  # its other end is closed
        while part := os.read(reader, 4096):
            text += part
    os.close(reader)
    return text.decode()


def test_a_terminal_has_bars_and_notes_above_them() -> None:
    text = output(True)
    assert BAR in text
    assert LINE not in text
    assert NOTE in [line.rpartition("\x1b[2K")[2] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("is_terminal", "environment"),
    [(False, {}), (False, {"FORCE_COLOR": "1"}), (True, {"TERM": "dumb"})],
)
def test_without_bars_there_are_lines(is_terminal: bool, environment: dict[str, str]) -> None:
    text = output(is_terminal, **environment)
    assert BAR not in text
    assert {NOTE, LINE} <= set(text.splitlines())


def test_whatever_rich_takes_for_a_terminal_there_are_either_bars_or_lines() -> None:
    text = output(True, TTY_COMPATIBLE="0")  # older versions of rich do not know it
    assert (BAR in text) != (LINE in text)
