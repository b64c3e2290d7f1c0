"""What the command line shows: progress, messages and tables (rich)."""

import functools
import logging
import sys
import time
from types import TracebackType
from typing import NamedTuple, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ruggedize.core.progress import EpochTask, time_left

console = Console(markup=False, emoji=False)  # names of files and classes are no markup

SECONDS_BETWEEN_LINES = 60.0  # of a long task, where no bars are drawn


@functools.cache
def draws_bars() -> bool:
    """Return whether bars are drawn: standard error is a terminal whose cursor can be moved.

    It is decided once, for the bars and for the lines that stand in for them. FORCE_COLOR makes no
    terminal of a file; TTY_COMPATIBLE=0 and TERM=dumb ask for lines.
    """
    return sys.stderr.isatty() and Console(stderr=True).is_interactive


class Messages(logging.StreamHandler[TextIO]):
    """Write log records to standard error: warnings with their level, notes without.

    While bars are drawn, the line that ends an epoch is left out: the bar has shown it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the stream of the moment: above the bars, while they are drawn."""
        if draws_bars() and ends_epoch(record):
            return
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        text = super().format(record)
        return f"{record.levelname}: {text}" if record.levelno >= logging.WARNING else text


def ends_epoch(record: logging.LogRecord) -> bool:
    """Return whether a record is the line that a training logs at an epoch's end."""
    args = record.args if isinstance(record.args, tuple) else ()
    return any(isinstance(part, EpochTask) for part in args)


class Begun(NamedTuple):
    """A task as it was when it was first heard of, and when a line of it was last printed."""

    done: int
    seconds: float
    last_line: float


class Bars:
    """Progress bars, one per task, on standard error; lines of text where that is no terminal."""

    def __init__(self, *, shown: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not shown, markup=False, emoji=False)
        self.draws = shown and draws_bars()
        self.progress = Progress(
            TextColumn("{task.description:28}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.tasks: dict[str, TaskID] = {}
        self.begun: dict[str, Begun] = {}

    def __enter__(self) -> "Bars":
        if self.draws:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.draws:
            self.progress.stop()

    def __call__(self, task: str, done: int, total: int) -> None:
        """Move the bar of a task, or print a line when it ends and every minute before."""
        if not self.draws:
            self._print_line(task, done, total)
            return
        if task not in self.tasks:
            self._retire_finished()
            self.tasks[task] = self.progress.add_task(task, total=total)
        self.progress.update(self.tasks[task], completed=done)

    def _print_line(self, task: str, done: int, total: int) -> None:
        """Print how far a task is, if it ends now or a minute has passed since its last line."""
        now = time.monotonic()
        first = self.begun.setdefault(task, Begun(done, now, now))
        text = f"{task}: {done:,} of {total:,}"
        if done == total:
            del self.begun[task]
            if not isinstance(task, EpochTask):
                self.console.print(text, highlight=False, soft_wrap=True)
        elif now - first.last_line >= SECONDS_BETWEEN_LINES:
            self.begun[task] = first._replace(last_line=now)
            speed = (done - first.done) / (now - first.seconds)
            left = f", {time_left((total - done) / speed)}" if speed > 0 else ""
            self.console.print(text + left, highlight=False, soft_wrap=True)

    def _retire_finished(self) -> None:
        """Remove finished bars: more bars than the terminal has rows would hide the newest."""
        for task in self.progress.tasks:
            if task.finished:
                self.progress.update(task.id, visible=False)


def table(title: str, columns: list[str], rows: list[list[str]], *, num_texts: int = 1) -> Table:
    """Format a table: the first columns are texts, the others are figures."""
    result = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        result.add_column(column, justify="left" if position < num_texts else "right")
    for row in rows:
        result.add_row(*row)
    return result
