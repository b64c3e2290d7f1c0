"""Parsing of the command line, and short messages about invalid arguments."""

import contextlib
import functools
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from ruggedize.cli.commands import COMMANDS
from ruggedize.core.errors import UserError, did_you_mean, shown
from ruggedize.core.places import user_path

DESCRIPTION = """Train and test image classifiers that withstand noise, blur, weather and
compression.

ruggedize recipes lists the recipes; ruggedize run demo needs no data and takes a few minutes.
ruggedize --version prints the version."""


def parse(arguments: list[str]) -> Callable[[], None]:
    """Parse arguments and return the command as a call without arguments.

    Raises:
        UserError: invalid arguments.
    """
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise UserError(unknown_command(arguments[0]))

    def postponed(command: Callable[..., None]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*args: Any, **kwargs: Any) -> Callable[[], None]:
            known = {name: with_home(value) for name, value in kwargs.items()}
            return functools.partial(command, *map(with_home, args), **known)

        call.__doc__ = with_whole_lines(inspect.getdoc(command) or "")
        call.__dict__ |= {"__signature__": inspect.signature(command)}
        del call.__dict__["__wrapped__"]  # tyro would read the command's own docstring
        return call

    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            return tyro.extras.subcommand_cli_from_dict(
                {name: postponed(command) for name, command in COMMANDS.items()},
                prog="ruggedize",
                description=DESCRIPTION,
                args=arguments,
            )
    except SystemExit as stop:
        if stop.code:
            raise UserError(condensed(output.getvalue(), arguments)) from None
        raise


def with_home(value: Any) -> Any:
    """Expand `~` in a path, or in several; a shell leaves it in `--out=~/run`."""
    if isinstance(value, tuple):
        return tuple(map(with_home, value))
    return user_path(value) if isinstance(value, Path) else value


def unknown_command(name: str) -> str:
    """Return the message for an unknown command, with the nearest one."""
    near = did_you_mean(name, COMMANDS)
    hint = f"; {near}" if near else ""
    return f"unknown command {shown(name)}{hint}\nruggedize --help lists the commands"


def with_whole_lines(docstring: str) -> str:
    """Join the lines of each argument description, since tyro would show the line breaks."""
    return re.sub(r"\n {5,}", " ", docstring)


OPTION = r"--[a-z-]+"
TITLES = (
    "Unrecognized options",
    "Value error",
    "Required options",
    "Missing subcommand",
    "Invalid choice",
)


def condensed(text: str, arguments: list[str]) -> str:
    """Reduce tyro's error output to the error, the nearest known option and a pointer to help."""
    bare = re.sub("[│╭╮╰╯]", " ", text)
    boxes = [" ".join(box.split()).strip("─ ") for box in re.split("[─-]{5,}", bare)]
    messages = [box for box in boxes if box and box not in TITLES]
    fault = messages[0].partition(" Available ")[0] if messages else "invalid arguments"
    fault = fault.partition(" Got errors:")[0].replace("no type matching {None}|", "it must be ")
    fault = fault.partition(" (applied to ")[0].replace(" could be instantiated from", ", got")
    command = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    words = arguments[1:] if command else arguments
    wrong = next((word for word in words if word in fault and word.strip("-")), "")
    shown_by_tyro = text.replace(wrong, "") if wrong else text
    known = options_of(command, shown_by_tyro) if command else COMMANDS
    if near := did_you_mean(wrong, known):
        hint = f"; {near}"
    elif fault.startswith("Unrecognized") and takes_changes(command):
        hint = ";\noptions of the recipe are set with --set SECTION.OPTION=VALUE: student.epochs=3"
    else:
        hint = ""
    help_command = " ".join(part for part in ("ruggedize", command, "--help") if part)
    return f"{fault.rstrip('.:')}{hint}\n{help_command} shows the usage"


def options_of(command: str, text: str) -> list[str]:
    """Return the options in tyro's text that the command has; tyro lists other commands' too."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        parse([command, "--help"])
    own = {*re.findall(OPTION, output.getvalue())} - {"--help"}
    return [option for option in re.findall(OPTION, text) if option in own]


def takes_changes(command: str) -> bool:
    """Return whether a command has --set; an empty name stands for none."""
    return bool(command) and "changes" in inspect.signature(COMMANDS[command]).parameters
