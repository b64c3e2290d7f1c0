"""The command line: arguments in, one line out where they are not understood."""

import contextlib
import difflib
import errno
import functools
import inspect
import io
import logging
import os
import re
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import tyro

import ruggedize
from ruggedize.cli.commands import COMMANDS
from ruggedize.cli.display import Messages
from ruggedize.cli.watchdog import GRACE_SECONDS, Watchdog
from ruggedize.core.errors import UserError, shown

DESCRIPTION = """Train and test image classifiers that withstand noise, blur, weather and
compression.

ruggedize recipes lists what can be run; ruggedize run demo needs no data and a few minutes.
ruggedize --version prints the version."""

NOTES = (  # loggers whose level INFO is shown
    "ruggedize.assess.scoring",
    "ruggedize.kernels.kernel",
    "ruggedize.models.precision",
    "ruggedize.train.loop",
    "ruggedize.train.delivery",
)
GO_ON = ("run", "train-teacher", "train-student", "corrupt")
MAKE_ROOM = "what was saved is whole: make room and give the same command again"
RAISE_LIMIT = "what was saved is whole: raise the limit on a file's size (ulimit -f) and go on"
CURES = {errno.ENOSPC: MAKE_ROOM, errno.EDQUOT: MAKE_ROOM, errno.EFBIG: RAISE_LIMIT}
SECONDS_FOR_THE_FIRST = 10.0  # of several processes, to refuse and be noticed
LESS_MEMORY = "take smaller images (data.image_size) or fewer, or set data.streaming = true"
OTHER_PLACE = "name a place that can be read and written"


def parse(arguments: list[str]) -> Callable[[], None]:
    """Turn arguments into a call; a mistake becomes at most three lines that name the cure."""

    def postponed(command: Callable[..., None]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*args: Any, **kwargs: Any) -> Callable[[], None]:
            return functools.partial(command, *args, **kwargs)

        call.__doc__ = with_whole_lines(inspect.getdoc(command) or "")
        call.__dict__ |= {"__signature__": inspect.signature(command)}
        del call.__dict__["__wrapped__"]  # tyro would read the command's own docstring
        return call

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {name: postponed(command) for name, command in COMMANDS.items()},
                prog="ruggedize",
                description=DESCRIPTION,
                args=arguments,
            )
    except SystemExit as stop:
        if stop.code:
            raise UserError(condensed(said.getvalue(), arguments)) from None
        raise


def with_whole_lines(docstring: str) -> str:
    """Join what a docstring says of one argument into one line: tyro would show the breaks."""
    return re.sub(r"\n {5,}", " ", docstring)


TITLES = (
    "Unrecognized options",
    "Value error",
    "Required options",
    "Missing subcommand",
    "Invalid choice",
)


def condensed(text: str, arguments: list[str]) -> str:
    """Cut tyro's boxes down to the fault, the nearest known word and where the help is."""
    bare = re.sub("[│╭╮╰╯]", " ", text)
    said = [" ".join(part.split()).strip("─ ") for part in re.split("[─-]{5,}", bare)]
    said = [part for part in said if part and part not in TITLES]
    fault = said[0].partition(" Available ")[0] if said else "the command is not understood"
    fault = fault.partition(" Got errors:")[0].replace("no type matching {None}|", "it must be ")
    fault = fault.replace(" could be instantiated from", ", got")
    command = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    known = [*COMMANDS] if not command else re.findall(r"--[a-z-]+", text)
    wrong = next((word for word in arguments if word in fault and word.strip("-")), "")
    near = difflib.get_close_matches(wrong, [k for k in known if k != wrong], 1) if wrong else []
    hint = f"; did you mean {near[0]}?" if near else ""
    help_command = " ".join(part for part in ("ruggedize", command, "--help") if part)
    return f"{fault.rstrip('.:')}{hint}\n{help_command} shows what it takes"


class Terminated(SystemExit):
    """SIGTERM came; a training has saved its state by now."""


def terminate(number: int, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does, so that files are closed and half-written ones go."""
    raise Terminated(128 + number)


def main() -> None:
    """Run a command; a user's mistake is said in at most three lines and gives status 2.

    Ctrl-C gives 130 and SIGTERM 143, as a shell would say; both with the command that goes on. A
    process that has not ended 20 seconds after such a signal is ended.
    """
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    begin_logging()
    signal.signal(signal.SIGTERM, terminate)
    with Watchdog(line_when_ended()):
        try:
            if refusal := attempted(sys.argv[1:]):
                refuse(refusal)
        except (KeyboardInterrupt, Terminated) as stop:
            say_how_to_go_on()
            sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)


def begin_logging() -> None:
    """Show warnings, and the notes of some modules; of several processes only the first one's."""
    level = logging.WARNING if is_first_here() else logging.ERROR
    logging.basicConfig(level=level, handlers=[Messages()], format="%(message)s")
    for name in NOTES:
        logging.getLogger(name).setLevel(logging.INFO if is_first_here() else logging.ERROR)


def attempted(arguments: list[str]) -> str:
    """Run a command; give what is to be said where it cannot be done, or nothing."""
    if arguments == ["--version"]:
        print(f"ruggedize {ruggedize.__version__}")
        return ""
    try:
        parse(arguments)()
    except UserError as error:
        return str(error)
    except MemoryError:
        return f"memory is full;\n{LESS_MEMORY}"
    except OSError as error:  # a folder that cannot be written, a full disk, a file for a folder
        if isinstance(error, BrokenPipeError) and nobody_reads(sys.stdout.fileno()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        place = f"{error.filename}: " if error.filename else ""
        cure = CURES.get(error.errno or 0, OTHER_PLACE)
        return f"{place}{error.strerror or error};\n{cure}"
    return ""


def nobody_reads(descriptor: int) -> bool:
    """Return whether the reading end of a pipe was closed."""
    if sys.platform == "win32":  # not known there
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def is_first_here() -> bool:
    """Return whether this is the first of the processes launched together on a machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def refuse(message: str) -> NoReturn:
    """Describe what is wrong, and end with status 2.

    The first process speaks first: what it says is mostly what all would say, and its launcher then
    ends the others.
    """
    if not is_first_here():
        time.sleep(SECONDS_FOR_THE_FIRST)
    print(f"ruggedize: {with_names_on_one_line(message)}", file=sys.stderr)
    sys.exit(2)


def with_names_on_one_line(message: str) -> str:
    """Escape what an argument with line breaks or control characters has brought into a message."""
    for argument in sys.argv[1:]:
        for part in (argument, argument.partition("=")[2], *re.split("[=.]", argument)):
            if part.strip() and not part.isprintable():
                message = message.replace(part, shown(part))
    return message


def line_when_ended() -> str:
    """Return what the watchdog prints; of several processes the first one prints."""
    if os.environ.get("RANK", "0") != "0":
        return ""
    kept = sys.argv[1:2] and sys.argv[1] in GO_ON
    more = "; what was saved last is kept, and the same command continues" if kept else ""
    return f"ruggedize: did not stop within {GRACE_SECONDS:.0f} s and was ended{more}"


def say_how_to_go_on() -> None:
    """Return the command that goes on; of several processes the first one speaks."""
    if os.environ.get("RANK", "0") != "0":
        return
    if sys.argv[1:2] and sys.argv[1] not in GO_ON:
        print("ruggedize: stopped", file=sys.stderr)
        return
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    command = shlex.join(["ruggedize", *sys.argv[1:]]) if alone else "the launcher's command again"
    print(f"ruggedize: stopped, and what was done is kept; go on with\n{command}", file=sys.stderr)
