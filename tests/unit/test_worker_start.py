"""Signals while worker processes are started."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from ruggedize.data.workers import signals_deferred


@pytest.fixture
def other_thread() -> Iterator[None]:
    """Run a thread that blocks no signals: the system may deliver the process's signals to it."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.usefixtures("other_thread")
def test_a_signal_that_reaches_another_thread_waits_until_the_workers_have_started() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # both steps belong to the test
        with signals_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)  # a handler would run here
            steps.append("started")
        steps.append("after")
    assert steps == ["started"]


def test_workers_inherit_blocked_signals() -> None:
    with signals_deferred():
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert {signal.SIGINT, signal.SIGTERM} <= blocked
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, ())
