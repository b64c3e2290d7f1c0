"""A watchdog that ends a process which was asked to stop and does not come to it."""

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
    """End the process some time after SIGINT or SIGTERM, whatever it is doing by then.

    A handler written in Python runs between two instructions of the main thread: never, while that
    thread waits in a compiler, a kernel or a collective. Python's wakeup descriptor is written by
    the system's own handler at once; a thread reads it, sleeps, and then ends what is left of the
    process and its child processes. Code that holds the GIL all the while stops this thread, too.

    Outside the main thread, and where an event loop owns the wakeup descriptor, nothing is watched.
    Once a signal has come, leaving `with` does not call the watchdog off: what runs when Python
    exits can hang as well. So it is for programs that end after a signal, not for libraries.
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
        if sys.platform != "win32":  # a forked child's signals are none of this process
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
        """Return the wakeup descriptor; the thread ends unless a stop signal has come."""
        if self.sockets is None:
            return
        signal.set_wakeup_fd(-1)
        self.sockets[1].close()
        self.sockets = None

    def watch(self, reader: socket.socket) -> None:
        """Wait for a stop signal, then for the end of the process, and end it if need be."""
        with reader:  # open to the end: the handler still writes to it
            number = 0
            while not number:
                numbers = reader.recv(64)
                if not numbers:  # the other end is closed
                    return
                number = next((n for n in numbers if n in STOPS), 0)
            time.sleep(self.grace_seconds)
            self.end(number)

    def end(self, number: int) -> None:
        """End this process and its children, with the status that a shell expects."""
        start = SHOW_CURSOR if sys.stderr is not None and sys.stderr.isatty() else ""
        if self.message:
            with contextlib.suppress(OSError):
                os.write(2, f"{start}{self.message}\n".encode())
        kill_children()
        os._exit(128 + number)


def kill_children() -> None:
    """Kill all child processes of this process, and theirs."""
    for child in multiprocessing.active_children():
        child.kill()
    if sys.platform != "win32":
        for child in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)


def descendants(process: int, proc: Path = Path("/proc")) -> Iterable[int]:
    """List the child processes of a process and theirs, where the system has `/proc`."""
    children: dict[int, list[int]] = {}
    for place in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(place.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(place.parent.name))
    found = [process]
    for one in found:  # grows meanwhile
        found += children.get(one, [])
    return found[1:]
