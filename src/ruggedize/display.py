"""What the command line shows: progress bars and tables (rich)."""

from types import TracebackType

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


class Bars:
    """Progress bars, one a task, drawn on standard error; plain lines where it is no terminal."""

    def __init__(self, *, shown: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not shown, markup=False, emoji=False)
        self.progress = Progress(
            TextColumn("{task.description:28}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (shown and self.console.is_terminal),
        )
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def __call__(self, task: str, done: int, total: int) -> None:
        """Move a task's bar, drawing it when the task is first heard of."""
        if not self.console.is_terminal:
            if done == total:
                self.console.print(f"{task}: {done:,} of {total:,}", highlight=False)
            return
        if task not in self.tasks:
            self._retire_finished()
            self.tasks[task] = self.progress.add_task(task, total=total)
        self.progress.update(self.tasks[task], completed=done)

    def _retire_finished(self) -> None:
        """Take finished bars away: more bars than the terminal has rows would hide the newest."""
        for task in self.progress.tasks:
            if task.finished:
                self.progress.update(task.id, visible=False)


def table(title: str, columns: list[str], rows: list[list[str]], *, num_texts: int = 1) -> Table:
    """Lay out a table: the first columns are texts, the others are figures."""
    result = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        result.add_column(column, justify="left" if position < num_texts else "right")
    for row in rows:
        result.add_row(*row)
    return result
