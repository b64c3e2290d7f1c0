"""How far work is and how long it takes: a callback, tasks, durations in words."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Told how far a task is; the command line draws bars from it."""

    def __call__(self, task: str, done: int, total: int) -> None:
        """Record that `done` of `total` pieces of `task` are done."""
        ...


def no_progress(task: str, done: int, total: int) -> None:
    """Show nothing."""


class EpochTask(str):
    """The name of a task that is one epoch; the loop logs a line of its own when it is done."""

    __slots__ = ()


def time_left(seconds: float) -> str:
    """Return a rough duration in words: about 40 s left, about 3 min left, about 2 h 5 min left."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    if minutes < 90:
        return f"about {minutes} min left"
    return f"about {minutes // 60} h {minutes % 60} min left"
