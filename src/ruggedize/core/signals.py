"""Defer SIGINT and SIGTERM, and name the signal that ended a process."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 1.0  # within it a second signal is a launcher's copy of the first
Handler = Callable[[int, FrameType | None], Any] | int | None


def name_of_signal(exit_code: int | None) -> str:
    """Return the description of the signal that ended a process, or an empty string."""
    if exit_code is None or exit_code >= 0:
        return ""
    return signal.strsignal(-exit_code) or f"signal {-exit_code}"


class Signals:
    """Context manager that defers SIGINT and SIGTERM until the block ends.

    The previous handlers are restored on exit, so that a notebook or an embedding program keeps
    its own. A second signal takes effect immediately; one within a second of the first is treated
    as the same signal, relayed by a launcher. Signals are not deferred in a thread, or if the
    parent process has set them to be ignored.
    """

    def __init__(self) -> None:
        self.number = 0
        self.received_at = 0.0
        self.previous: dict[int, Handler] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler) or handler == signal.SIG_DFL:
                    self.previous[number] = signal.signal(number, self.record)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.restore_handlers()
        if self.number and error is None:
            signal.raise_signal(self.number)

    def record(self, number: int, frame: FrameType | None) -> None:
        """Record the first signal; re-raise a second one unless it repeats the first."""
        now = time.monotonic()
        is_echo = number == self.number and now - self.received_at < ECHO_SECONDS
        if self.number and not is_echo:
            self.reraise(number)
        elif not self.number:
            self.number, self.received_at = number, now

    def reraise(self, number: int) -> None:
        """Raise the signal again for the previous handler."""
        self.restore_handlers()
        self.number = 0
        signal.raise_signal(number)

    def restore_handlers(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
