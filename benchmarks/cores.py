"""One core for those who work on one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def one_core() -> Iterator[None]:
    """Restrict this process to one of its cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def on_one_core(work: Callable[[], int]) -> Callable[[], int]:
    """Make the same work keep to one core."""

    def confined() -> int:
        with one_core():
            return work()

    return confined
