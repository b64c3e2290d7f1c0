"""The help says what holds where an option is left out, once, in lines of its own."""

import pytest

import ruggedize as package
from ruggedize.cli.commands import COMMANDS
from tests.behaviour.runs import ruggedize


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """Return every command's help as running text."""
    shown = {name: ruggedize(name, "--help").stdout.replace("│", " ") for name in COMMANDS}
    return {name: " ".join(text.split()) for name, text in shown.items()}


def test_a_default_that_is_none_or_empty_is_not_shown(helps: dict[str, str]) -> None:
    for name, text in helps.items():
        assert "default: None" not in text, name
        assert "(default: )" not in text, name
    assert "Default: runs/RECIPE-seedN. --seed" in helps["run"]
    assert "Image files, or folders of image files. (required)" in helps["predict"]


def test_real_defaults_stay(helps: dict[str, str]) -> None:
    assert "(default: generated)" in helps["assess"]
    assert "(default: 0)" in helps["corrupt"]


def test_repeatable_is_said_once(helps: dict[str, str]) -> None:
    assert helps["run"].count("repeatable") == 1


def test_an_arguments_text_runs_on_over_the_sources_lines() -> None:
    lines = ruggedize("run", "--help").stdout.splitlines()
    assert any("An interrupted run is resumed" in line for line in lines)


def test_the_version_is_printed() -> None:
    result = ruggedize("--version")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"ruggedize {package.__version__}\n"
    assert "--version" in ruggedize("--help").stdout
    assert ruggedize("--versio").returncode == 2
