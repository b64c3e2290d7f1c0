"""Run a reader on many cases: it gives an answer or a `UserError`, at once and leaving no trace."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ruggedize.core.errors import UserError
from tests.fuzz.watching import untouched_world

SLOWEST = 20.0  # seconds; most cases take milliseconds, and one that takes longer hangs
Record = Callable[[str, object], None]


@dataclass
class Tally:
    """What became of the cases."""

    read: int = 0
    refused: int = 0
    slowest_seconds: float = 0.0


def hammer(
    cases: st.SearchStrategy[Any],
    lay: Callable[[Any], None],
    read: Callable[[Any], object],
    num_cases: int,
    record_property: Record,
) -> None:
    """Run a reader on so many different cases; it may raise nothing but `UserError`."""
    tally = Tally()

    @hypothesis.seed(num_cases)
    @settings(
        max_examples=num_cases,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(cases)
    def one(case: Any) -> None:
        lay(case)
        began, said = time.monotonic(), "read"
        try:
            with untouched_world():
                read(case)
            tally.read += 1
        except UserError as error:
            tally.refused += 1
            said = str(error)
        seconds = time.monotonic() - began
        tally.slowest_seconds = max(tally.slowest_seconds, seconds)
        assert seconds < SLOWEST
        assert 1 <= len(said.split("\n")) <= 3, said

    one()
    assert tally.read + tally.refused >= num_cases
    assert tally.read  # neither all nor nothing is refused: the cases bite
    assert tally.refused
    record_property("cases", tally.read + tally.refused)
    record_property("read", tally.read)
    record_property("refused", tally.refused)
    record_property("slowest_seconds", round(tally.slowest_seconds, 2))


def nothing(case: object) -> None:
    """Write nothing: the case itself is read."""
