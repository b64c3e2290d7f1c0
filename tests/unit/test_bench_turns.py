"""Contestants in processes of their own: one works, the others are idle, and a failure is shown."""

import subprocess
import sys
import threading
import time

import pytest
from benchmarks import turns
from benchmarks.turns import ROOT, WARMUP, Worker, wait_until_idle, working

PEER = """
import time
from benchmarks.turns import Turns
turns = Turns({steps}, {turns})
print("what a library prints is no answer")
while True:
    time.sleep({seconds})
    turns.step_done(10)
"""


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the peers of `benchmarks.peer` by one that sleeps: its name is its seconds."""
    start = subprocess.Popen

    def started(command: list[str], **options: object) -> subprocess.Popen:
        *_, seconds, steps, number = command
        script = PEER.format(steps=steps, turns=number, seconds=seconds)
        return start([sys.executable, "-c", script], **options)  # pyright: ignore

    monkeypatch.setattr(turns.subprocess, "Popen", started)


@pytest.mark.more
@pytest.mark.usefixtures("peer")
def test_a_turn_is_timed_from_its_start_to_its_last_step() -> None:
    with working({"slow": "0.5", "fast": "0.01"}, steps=3, rounds=1) as contestants:
        rates = {name: contestant() for name, contestant in contestants.items()}
    assert rates["slow"] <= 20  # 10 images in 0.5 s, or later where the machine is busy
    assert 2 * rates["slow"] < rates["fast"] <= 1000


def test_idleness_begins_where_the_work_ahead_ends() -> None:
    stop = time.perf_counter() + 0.3

    def work_ahead() -> None:
        while time.perf_counter() < stop:
            pass

    thread = threading.Thread(target=work_ahead)
    thread.start()
    idle_since = wait_until_idle()
    thread.join()
    assert idle_since > stop - 2 * turns.WINDOW_SECONDS  # it may get no CPU in its last moments


@pytest.mark.usefixtures("peer")
def test_a_peer_ends_when_no_more_turns_are_wanted() -> None:
    worker = Worker("0.001", 1, 5)
    worker.turn()
    worker.close()
    assert worker.process.returncode == 0


@pytest.mark.more
def test_a_peer_that_fails_is_shown_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'no such peer'"):
        Worker("no such peer", 1, 1)


def test_a_peer_knows_how_many_steps_it_will_be_asked_for() -> None:
    script = "from benchmarks.turns import Turns; turns = Turns(4, 3); import sys;"
    script += "print(turns.num_steps, file=sys.stderr)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert int(found.stderr) == WARMUP + 4 * 3


def test_threads_that_spin_are_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until_idle()
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.5)
    stopped = threading.Event()

    def spin() -> None:
        while not stopped.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="still at work"):
            wait_until_idle()
    finally:
        stopped.set()
        thread.join()
