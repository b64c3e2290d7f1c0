"""Ctrl-C and SIGTERM, put off until the step is done and the state is saved."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 1.0  # within which a batch system and its launcher tell the same
Handler = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """The signal that asked to stop, if one did; inside `with`, it waits to be obeyed.

    The handlers are lent: they go back at the end of `with`, so that a notebook or a program that
    trains keeps its own. A second signal is obeyed at once (one that follows within a second is
    the same, relayed by a launcher). Where they are not ours to take (in
    a thread, or ignored by whoever started the process), nothing is put off.
    """

    def __init__(self) -> None:
        self.number = 0
        self.came = 0.0
        self.lenders: dict[int, Handler] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                lender = signal.getsignal(number)
                if callable(lender) or lender == signal.SIG_DFL:
                    self.lenders[number] = signal.signal(number, self.note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.give_back()
        if self.number and error is None:
            signal.raise_signal(self.number)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Keep the first signal for later; a second one cannot wait, but for an echo of it."""
        now = time.monotonic()
        is_echo = number == self.number and now - self.came < ECHO_SECONDS
        if self.number and not is_echo:
            self.obey(number)
        elif not self.number:
            self.number, self.came = number, now

    def obey(self, number: int) -> None:
        """Let a signal do what it would have done."""
        self.give_back()
        self.number = 0
        signal.raise_signal(number)

    def give_back(self) -> None:
        """Give the handlers back to their lenders."""
        for number, lender in self.lenders.items():
            signal.signal(number, lender)
        self.lenders = {}
