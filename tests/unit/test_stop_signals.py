"""A stop signal is not lost where Python ignores exceptions."""

import signal
import sys
import time
from collections.abc import Iterator

import pytest

from ruggedize.cli.main import Terminated, stop_again, terminate

HANDLERS = {signal.SIGTERM: terminate, signal.SIGINT: signal.default_int_handler}


class Signalled:
    """Receives a signal while it is destroyed."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


class Broken:
    def __del__(self) -> None:
        raise ValueError("a defect")


@pytest.fixture(autouse=True)
def hooked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in HANDLERS.items()}
    monkeypatch.setattr(sys, "unraisablehook", stop_again)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_within_a_finaliser_stops_a_moment_later(
    number: signal.Signals, kind: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    reached = False
    with pytest.raises(kind):  # noqa: PT012
        Signalled(number)
        reached = True
        time.sleep(10)
    assert reached
    assert "Traceback" not in capsys.readouterr().err


def test_a_defect_in_a_finaliser_is_still_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Broken()
    assert "a defect" in capsys.readouterr().err
