"""A process that does not obey a stop signal is ended with its children; no other one is."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from ruggedize.cli.watchdog import Watchdog, descendants

pytestmark = pytest.mark.more

BLOCKED = """
import atexit, ctypes, signal, subprocess, sys, threading, time
from ruggedize.cli.watchdog import Watchdog

def interrupted(number, frame):
    raise SystemExit(128 + number)

def soon_ready():
    timer = threading.Timer(0.7, print, ["ready"], {"flush": True})
    timer.daemon = True
    timer.start()

signal.signal(signal.SIGTERM, interrupted)
how = sys.argv[1]
nested = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
with Watchdog("it was ended", grace_seconds=2.0):
    if how == "kernel":
        import numba, numpy
        @numba.njit(nogil=True)
        def endless(stop):
            x = 0
            while not stop[0]:
                x += 1
            return x
        endless(numpy.ones(1))  # compiled now
        soon_ready()
        endless(numpy.zeros(1))
    elif how == "lock":  # a mutex that nobody unlocks: no signal interrupts the wait
        subprocess.Popen([sys.executable, "-c", nested])
        time.sleep(1)
        libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
        soon_ready()
        libc.pthread_mutex_lock(mutex), libc.pthread_mutex_lock(mutex)
    elif how == "exit":  # the signal is obeyed, and then Python does not come to its end
        atexit.register(threading.Event().wait)
    soon_ready()
    time.sleep(600)
"""


def stopped(how: str, number: signal.Signals) -> tuple[int, str, float, list[psutil.Process]]:
    """Send a blocked process a signal; return its status, output, seconds and child processes."""
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    children = psutil.Process(process.pid).children(recursive=True)
    started = time.monotonic()
    process.send_signal(number)
    try:
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, said, time.monotonic() - started, children


@pytest.mark.parametrize("how", ["kernel", "lock", "exit"])
def test_a_process_that_cannot_obey_is_ended_after_the_grace_period(how: str) -> None:
    status, said, seconds, _ = stopped(how, signal.SIGTERM)
    assert (status, said) == (128 + signal.SIGTERM, "it was ended\n")
    assert 2.0 <= seconds < 10.0


def test_its_child_processes_are_ended_with_it() -> None:
    status, _, _, children = stopped("lock", signal.SIGINT)
    assert status == 128 + signal.SIGINT
    assert len(children) == 2
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_a_process_that_obeys_ends_by_itself() -> None:
    status, said, seconds, _ = stopped("sleep", signal.SIGTERM)
    assert (status, said) == (128 + signal.SIGTERM, "")
    assert seconds < 2.0


def test_the_wakeup_descriptor_is_returned_and_its_thread_ends() -> None:
    def watchdogs() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "watchdog"]

    with Watchdog("never shown"):
        (thread,) = watchdogs()
        owned = signal.set_wakeup_fd(-1)
        assert owned != -1
        signal.set_wakeup_fd(owned)
    thread.join(5)
    assert signal.set_wakeup_fd(-1) == -1
    assert not watchdogs()


def test_an_event_loop_keeps_its_wakeup_descriptor() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        before = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(before)
        with Watchdog("never shown"):
            assert signal.set_wakeup_fd(before) == before
        assert signal.set_wakeup_fd(before) == before
        assert before != -1
        loop.remove_signal_handler(signal.SIGUSR1)

    asyncio.run(work())


def test_a_signal_to_a_forked_child_is_not_its_parent_s() -> None:
    """The child has the parent's handlers; the descriptor that they write to is closed in it."""
    with Watchdog("never shown"):
        child = os.fork()
        if child == 0:
            os._exit(int(signal.set_wakeup_fd(-1) != -1))
        assert os.waitpid(child, 0)[1] == 0


def test_in_a_thread_nothing_is_watched() -> None:
    def work() -> None:
        with Watchdog("never shown") as watchdog:
            seen.append(watchdog.sockets)

    seen: list[object] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]


def test_descendants_are_children_and_theirs_alone() -> None:
    code = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{code}; p.wait()"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    try:
        assert set(descendants(os.getpid())) >= {child.pid, grandchild}
        assert list(descendants(child.pid)) == [grandchild]
    finally:
        os.kill(grandchild, signal.SIGKILL)
        child.wait()
