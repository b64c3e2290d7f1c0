"""Terminal output: progress, log messages and tables (rich)."""

import csv
import functools
import logging
import re
import sys
import time
from types import TracebackType
from typing import Any, NamedTuple, TextIO

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

from ruggedize.core import errors
from ruggedize.core.errors import shown_lines
from ruggedize.core.progress import EpochTask, time_left


class PrintableConsole(Console):
    """A console that escapes control characters in text; `table` escapes those of its cells."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects; names of files and classes may hold commands to the terminal."""
        super().print(*(shown_lines(o) if isinstance(o, str) else o for o in objects), **options)


console = PrintableConsole(markup=False, emoji=False)  # names may contain brackets

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?")
SECONDS_BETWEEN_LINES = 60.0  # of progress, if no bars are drawn


@functools.cache
def draws_bars() -> bool:
    """Return whether progress bars are drawn: if standard error is an interactive terminal.

    Otherwise progress is printed as lines. FORCE_COLOR does not make a file a terminal;
    TTY_COMPATIBLE=0 and TERM=dumb select lines. Cached, so that both outputs agree.
    """
    return sys.stderr.isatty() and Console(stderr=True).is_interactive


class Messages(logging.StreamHandler[TextIO]):
    """Write log records to standard error, with the level only for warnings and above.

    While bars are drawn, the line at the end of an epoch is skipped, as the bar has shown it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the current `sys.stderr`, which rich replaces while bars are drawn."""
        if draws_bars() and ends_epoch(record):
            return
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        text = shown_lines(super().format(record))
        return f"{record.levelname}: {text}" if record.levelno >= logging.WARNING else text


def ends_epoch(record: logging.LogRecord) -> bool:
    """Return whether a record is the line that training logs at the end of an epoch."""
    args = record.args if isinstance(record.args, tuple) else ()
    return any(isinstance(arg, EpochTask) for arg in args)


class TaskStart(NamedTuple):
    """The state of a task at its first update, and the time of its last printed line."""

    done: int
    seconds: float
    last_line: float


class Bars:
    """Progress bars on standard error, one per task, or lines of text without a terminal."""

    def __init__(self, *, shown: bool = True) -> None:
        self.console = PrintableConsole(stderr=True, quiet=not shown, markup=False, emoji=False)
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
        self.starts: dict[str, TaskStart] = {}

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
        """Update the bar of a task, or print a line every minute and at the end."""
        if not self.draws:
            self._print_line(task, done, total)
            return
        if task not in self.tasks:
            self._retire_finished()
            self.tasks[task] = self.progress.add_task(errors.shown(task), total=total)
        self.progress.update(self.tasks[task], completed=done)

    def _print_line(self, task: str, done: int, total: int) -> None:
        """Print the progress of a task if it is done or its last line is a minute old."""
        now = time.monotonic()
        start = self.starts.setdefault(task, TaskStart(done, now, now))
        text = f"{task}: {done:,} of {total:,}"
        if done == total:
            del self.starts[task]
            if not isinstance(task, EpochTask):
                self.console.print(text, highlight=False, soft_wrap=True)
        elif now - start.last_line >= SECONDS_BETWEEN_LINES:
            self.starts[task] = start._replace(last_line=now)
            speed = (done - start.done) / (now - start.seconds)
            left = f", {time_left((total - done) / speed)}" if speed > 0 else ""
            self.console.print(text + left, highlight=False, soft_wrap=True)

    def _retire_finished(self) -> None:
        """Hide finished bars, as rich does not scroll when there are more bars than rows."""
        for task in self.progress.tasks:
            if task.finished:
                self.progress.update(task.id, visible=False)


def table(title: str, columns: list[str], rows: list[list[str]], *, num_texts: int = 1) -> Table:
    """Return a table; the first `num_texts` columns are left-aligned, the others right-aligned."""
    result = Table(title=errors.shown(title), title_justify="left")
    for position, column in enumerate(columns):
        result.add_column(errors.shown(column), justify="left" if position < num_texts else "right")
    for row in rows:
        result.add_row(*map(errors.shown, row))
    return result


def print_csv(columns: list[str], rows: list[list[str]]) -> None:
    """Print comma-separated values that a spreadsheet does not take for formulas."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([[spreadsheet_cell(cell) for cell in row] for row in (columns, *rows)])


def spreadsheet_cell(text: str) -> str:
    """Return printable text, quoted by an apostrophe if a spreadsheet would calculate it."""
    is_formula = text.startswith(FORMULA_STARTS) and not NUMBER.fullmatch(text)
    return f"'{errors.shown(text)}" if is_formula else errors.shown(text)
