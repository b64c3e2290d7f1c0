"""The entry point of the command line: errors, signals and exit codes."""

import errno
import io
import logging
import os
import re
import select
import shlex
import signal
import sys
import threading
import time
import traceback
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

import ruggedize
from ruggedize.cli.display import Messages
from ruggedize.cli.parsing import parse
from ruggedize.cli.variables import RUN_OF_STUDY, set_variables
from ruggedize.cli.watchdog import GRACE_SECONDS, Watchdog
from ruggedize.core.errors import UserError, shown, shown_lines

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INFO_LOGGERS = (  # loggers whose INFO messages are shown
    "ruggedize.assess.running",
    "ruggedize.assess_models",
    "ruggedize.data.oddities",
    "ruggedize.kernels.kernel",
    "ruggedize.models.precision",
    "ruggedize.recipe.automatic",
    "ruggedize.recipe.generations",
    "ruggedize.recipe.outlook",
    "ruggedize.study.sharing",
    "ruggedize.train.loop",
    "ruggedize.train.delivery",
    "ruggedize.train.fine_tuning.interpolation",
    "ruggedize.train.fine_tuning.speed",
    "ruggedize.train.fine_tuning.start",
)
RESUMABLE = ("run", "train-teacher", "train-student", "study", "assess", "corrupt")
MAKE_ROOM = "saved files are intact: free some space and run the same command again"
RAISE_LIMIT = "saved files are intact: raise the file size limit (ulimit -f) and run it again"
CURES = {errno.ENOSPC: MAKE_ROOM, errno.EDQUOT: MAKE_ROOM, errno.EFBIG: RAISE_LIMIT}
AGAIN_SECONDS = 0.1  # until a stop signal that was ignored is repeated
SECONDS_FOR_THE_FIRST = 10.0  # lead of the first process in reporting an error
LESS_MEMORY = "use smaller or fewer images (data.image_size), or set data.streaming = true"
NAMES = (str, bytes)  # possible types of a file name in an OSError
OTHER_PLACE = "use a path that can be read and written"


class Terminated(SystemExit):
    """Raised on SIGTERM; training saves its state first."""


def terminate(number: int, frame: FrameType | None) -> None:
    """Stop like Ctrl-C does, so that cleanup code runs and partial files are removed."""
    raise Terminated(128 + number)


def stop_again(ignored: "UnraisableHookArgs") -> None:
    """Repeat a stop signal whose exception was raised where Python ignores exceptions.

    Finalisers and the callbacks of a fork are such places.
    """
    error = ignored.exc_value
    if not isinstance(error, KeyboardInterrupt | Terminated):
        sys.__unraisablehook__(ignored)
        return
    number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
    again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def main() -> None:
    """Run a command; a user error prints at most three lines and exits with status 2.

    Ctrl-C exits with 130 and SIGTERM with 143, after printing the command that resumes. A process
    that has not ended 20 seconds after such a signal is killed.
    """
    for stream in (sys.stdout, sys.stderr):  # file names may be invalid Unicode
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook, sys.unraisablehook = print_traceback, stop_again
    set_variables()
    begin_logging()
    signal.signal(signal.SIGTERM, terminate)
    with Watchdog(line_when_ended()):
        try:
            if error := run_command(sys.argv[1:]):
                exit_with_error(error)
        except (KeyboardInterrupt, Terminated) as stop:
            print_resume_command()
            sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a defect; its text may come from a file."""
    lines = "".join(traceback.format_exception(kind, error, trace))
    print(shown_lines(lines), file=sys.stderr, end="")


def begin_logging() -> None:
    """Show warnings, and INFO messages of some modules, in the first process of the machine."""
    level = logging.WARNING if is_first_here() else logging.ERROR
    logging.basicConfig(level=level, handlers=[Messages()], format="%(message)s")
    for name in INFO_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO if is_first_here() else logging.ERROR)


def run_command(arguments: list[str]) -> str:
    """Run a command; return an error message, or an empty string on success."""
    if arguments == ["--version"]:
        print(f"ruggedize {ruggedize.__version__}")
        return ""
    try:
        parse(arguments)()
    except UserError as error:
        return str(error)
    except MemoryError:
        return f"out of memory;\n{LESS_MEMORY}"
    except OSError as error:  # e.g. a full disk or missing permissions
        if isinstance(error, BrokenPipeError) and is_broken_pipe(sys.stdout.fileno()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        path = f"{shown(error.filename)}: " if isinstance(error.filename, NAMES) else ""
        cure = CURES.get(error.errno or 0, OTHER_PLACE)
        return f"{path}{error.strerror or error};\n{cure}"
    return ""


def is_broken_pipe(descriptor: int) -> bool:
    """Return whether a descriptor is a pipe whose reader has gone."""
    if sys.platform == "win32":  # has no poll
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def is_first_here() -> bool:
    """Return whether this is the first process of a launch on this machine (local rank 0)."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def exit_with_error(message: str) -> NoReturn:
    """Print an error message and exit with status 2.

    Processes other than the first wait: they usually have the same error, and the launcher ends
    them when the first one exits.
    """
    if not is_first_here():
        time.sleep(SECONDS_FOR_THE_FIRST)
    print(f"ruggedize: {in_three_lines(with_names_on_one_line(message))}", file=sys.stderr)
    sys.exit(2)


def in_three_lines(message: str) -> str:
    """Return a message as printable text; line breaks beyond two are of foreign text: escaped."""
    first, *others = message.split("\n")
    if len(others) > 2:
        first, others = "\n".join((first, *others[:-1])), others[-1:]
    return "\n".join(map(shown, (first, *others)))


def with_names_on_one_line(message: str) -> str:
    """Escape arguments with line breaks or control characters that occur in a message."""
    for argument in sys.argv[1:]:
        for part in (argument, argument.partition("=")[2], *re.split("[=.]", argument)):
            if part.strip() and not part.isprintable():
                message = message.replace(part, shown(part))
    return message


def line_when_ended() -> str:
    """Return the message of the watchdog; empty except in the first process."""
    if os.environ.get("RANK", "0") != "0":
        return ""
    is_resumable = sys.argv[1:2] and sys.argv[1] in RESUMABLE
    hint = "; the last saved state is kept, the same command resumes" if is_resumable else ""
    return f"ruggedize: did not stop within {GRACE_SECONDS:.0f} s and was killed{hint}"


def print_resume_command() -> None:
    """Print the command that resumes, in the first process only; for its runs, a study does."""
    if os.environ.get("RANK", "0") != "0":
        return
    if RUN_OF_STUDY in os.environ or (sys.argv[1:2] and sys.argv[1] not in RESUMABLE):
        print("ruggedize: stopped", file=sys.stderr)
        return
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    command = shlex.join(["ruggedize", *sys.argv[1:]]) if alone else "the launcher's command again"
    print(f"ruggedize: stopped; resume with\n{shown(command)}", file=sys.stderr)
