"""The callbacks of a training and durations as text."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Progress callback, called as `progress(task, done, total)` after every unit of work."""

    def __call__(self, task: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of `task` are done."""
        ...


def no_progress(task: str, done: int, total: int) -> None:
    """Do nothing: the default callback."""


@runtime_checkable
class OnRows(Protocol):
    """Metrics callback, called as `on_rows(stage, rows)` in the first process after every epoch."""

    def __call__(self, stage: str, rows: list[dict[str, Any]]) -> None:
        """Report all rows of `metrics.jsonl` so far."""
        ...


def no_metrics(stage: str, rows: list[dict[str, Any]]) -> None:
    """Do nothing: the default callback."""


class EpochTask(str):
    """Task name of an epoch; displays may clear it when done, because the loop logs each epoch."""

    __slots__ = ()


def time_left(seconds: float) -> str:
    """Return the remaining time as text: "about 40 s left", "about 2 h 5 min left"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    if minutes < 90:
        return f"about {minutes} min left"
    return f"about {minutes // 60} h {minutes % 60} min left"
