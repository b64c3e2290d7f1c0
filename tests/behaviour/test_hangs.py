"""A run that hangs ends within 30 seconds of a stop signal, with its child processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.behaviour.runs import ROOT, ruggedize, steps_saved, wait_until
from tests.distributed.launching import environment, launcher

pytestmark = pytest.mark.more

LIMIT = 30.0  # seconds from the signal to the end
CHANGES = ("teacher.model.width=8", "teacher.epochs=1")


def arguments(out: Path) -> list[str]:
    changes = [part for change in CHANGES for part in ("--set", change)]
    return ["train-teacher", "demo", "--out", str(out), *changes]


def hanging(out: Path, start: list[str], num_processes: int) -> subprocess.Popen[str]:
    """Start a training and wait until all its processes hang."""
    process = subprocess.Popen(
        [*start, "tests.behaviour.blocking", *arguments(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    wait_until(process, lambda: len(list(out.glob("blocked-*"))) == num_processes)
    time.sleep(1)  # the file is written just before
    return process


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Stop a training; no process of it may be left when the time is over."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    try:
        process.send_signal(number)
        _, alive = psutil.wait_procs(family[1:], timeout=LIMIT)
        assert not alive
        _, said = process.communicate(timeout=LIMIT)
    finally:
        for one in family:
            if one.is_running():
                one.kill()
    return said


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)],
)
def test_a_step_that_never_ends_is_ended_and_the_same_command_continues(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process = hanging(tmp_path, [sys.executable, "-m"], 1)
    said = stopped(process, number)
    assert process.returncode == status, said
    line = said.splitlines()[-1]  # after what the training has logged
    assert "did not stop within 20 s" in line
    assert "the same command resumes" in line
    assert max(steps_saved(tmp_path)) == 3
    result = ruggedize(*arguments(tmp_path))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.long
def test_processes_under_a_launcher_are_ended_alike(tmp_path: Path) -> None:
    process = hanging(tmp_path, launcher("torch", 2), 2)
    said = stopped(process, signal.SIGTERM)
    assert process.returncode != 0
    assert said.count("ruggedize: did not stop within 20 s") == 1  # the first process speaks
