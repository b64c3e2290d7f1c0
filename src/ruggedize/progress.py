"""How long work takes: the tasks of a progress display and durations in words."""


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
