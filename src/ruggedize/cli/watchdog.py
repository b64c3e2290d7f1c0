"""A watchdog that kills a process that does not stop after a signal."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

GRACE_SECONDS = 20.0  # torch's launcher kills after 30
STOPS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\x1b[?25h\n"  # a progress bar has hidden it


class Watchdog:
    """Kill the process `grace_seconds` after SIGINT or SIGTERM unless it has ended by then.

    A Python signal handler runs between bytecode instructions of the main thread, so it never runs
    while that thread is blocked in a compiler, a kernel or a collective. The wakeup descriptor
    (`signal.set_wakeup_fd`) is written by the C-level handler immediately; a thread reads it,
    sleeps, and kills the process and its children. It cannot run while other code holds the GIL.

    Does nothing outside the main thread, or if an event loop owns the wakeup descriptor. After a
    signal, leaving the `with` block does not stop the watchdog, because interpreter shutdown can
    hang too. It is therefore for programs that end after a signal, not for libraries.
    """

    def __init__(self, message: str, grace_seconds: float = GRACE_SECONDS) -> None:
        self.message = message
        self.grace_seconds = grace_seconds
        self.sockets: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> "Watchdog":
        if threading.current_thread() is not threading.main_thread():
            return self
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        earlier = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        if earlier != -1:
            signal.set_wakeup_fd(earlier)
            reader.close()
            writer.close()
            return self
        self.sockets = reader, writer
        if sys.platform != "win32":  # signals of a forked child must not reach this watchdog
            os.register_at_fork(after_in_child=self.leave)
        threading.Thread(target=self.watch, args=(reader,), name="watchdog", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Reset the wakeup descriptor; the thread ends unless it has received a signal."""
        if self.sockets is None:
            return
        signal.set_wakeup_fd(-1)
        self.sockets[1].close()
        self.sockets = None

    def watch(self, reader: socket.socket) -> None:
        """Wait for SIGINT or SIGTERM, then for the grace period, then kill the process."""
        with reader:  # stays open, as the handler still writes to it
            number = 0
            while not number:
                numbers = reader.recv(64)
                if not numbers:  # the other end is closed
                    return
                number = next((n for n in numbers if n in STOPS), 0)
            time.sleep(self.grace_seconds)
            self.end(number)

    def end(self, number: int) -> None:
        """Kill this process and its children; exit with 128 + signal number."""
        start = SHOW_CURSOR if sys.stderr is not None and sys.stderr.isatty() else ""
        if self.message:
            with contextlib.suppress(OSError):
                os.write(2, f"{start}{self.message}\n".encode())
        kill_children()
        os._exit(128 + number)


def kill_children() -> None:
    """Kill all descendants of this process."""
    for child in multiprocessing.active_children():
        child.kill()
    if sys.platform != "win32":
        for child in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)


def descendants(process: int, proc: Path = Path("/proc")) -> Iterable[int]:
    """Return the ids of all descendants of a process, on systems with `/proc`."""
    children: dict[int, list[int]] = {}
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [process]
    for ancestor in found:  # the list grows during the loop
        found += children.get(ancestor, [])
    return found[1:]
