"""Peers that would fight over threads take turns, each in a process of its own.

The parent writes a line; the peer does a few steps, waits until its threads are idle, and answers
with the images and the seconds. So nobody works while another one is timed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from benchmarks.record import Contestant

ROOT = Path(__file__).parents[1]
WARMUP = 2  # steps that compile and allocate
WINDOW_SECONDS = 0.05
QUIET_CPU_SECONDS = 0.005  # in such a window: below this no thread works or spins
PATIENCE_SECONDS = 60.0
END_OF_OUTPUT = 2_000  # characters of a failed peer's output that are shown


class Turns:
    """The peer's side: called after each step, it times turns of `steps` steps."""

    def __init__(self, steps: int, turns: int) -> None:
        self.num_steps = WARMUP + steps * turns  # that the peer will be asked for in all
        self.steps_a_turn = steps
        self.remaining = WARMUP
        self.images = 0
        self.is_warm = False
        self.refills_queues = False  # set by a peer that works ahead: refilling them is its work
        self.started = 0.0
        self.channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer

    def step_done(self, num_images: int) -> None:
        """Count a step; where it ends a turn, answer and wait for the next one.

        Raises:
            SystemExit: no more turns are wanted.
        """
        self.images += num_images
        self.remaining -= 1
        if self.remaining:
            return
        stepped = time.perf_counter()
        idle_since = wait_until_idle()
        seconds = (idle_since if self.refills_queues else stepped) - self.started
        answer = {"images": self.images, "seconds": seconds} if self.is_warm else {"ready": True}
        print(json.dumps(answer), file=self.channel, flush=True)
        if not sys.stdin.readline():
            raise SystemExit(0)
        self.is_warm, self.images, self.remaining = True, 0, self.steps_a_turn
        self.started = time.perf_counter()


def wait_until_idle() -> float:
    """Wait until no thread of this process works or spins; give when that began."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        began, before = time.perf_counter(), time.process_time()
        time.sleep(WINDOW_SECONDS)
        if time.process_time() - before < QUIET_CPU_SECONDS:
            return began
    raise RuntimeError(f"threads are still at work {PATIENCE_SECONDS:.0f} s after the last step")


class Worker:
    """The parent's side: one peer in its process, started and warm."""

    def __init__(self, name: str, steps: int, turns: int) -> None:
        self.name = name
        self.errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the peer
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer", name, str(steps), str(turns)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=ROOT,
        )
        self.answer()

    def turn(self) -> float:
        """Run the peer for one turn and return its images a second."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        done = self.answer()
        return done["images"] / done["seconds"]

    def answer(self) -> dict[str, Any]:
        """Wait for the peer's line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(f"{self.name} ended:\n{self.errors.read()[-END_OF_OUTPUT:]}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


@contextmanager
def working(peers: dict[str, str], steps: int, rounds: int) -> Iterator[dict[str, Contestant]]:
    """Start peers of `benchmarks.peer`, one after the other: {contestant: the peer's name}."""
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {}
        for contestant, name in peers.items():
            worker = Worker(name, steps, 1 + rounds)  # the first turn does not count
            stack.callback(worker.close)
            contestants[contestant] = worker.turn
        yield contestants
