"""Runs of the command line in processes of their own, as a user starts them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TINY = (
    "teacher.model.width=8",
    "student.model.width=8",
    "teacher.epochs=2",
    "student.epochs=2",
    "assess.num_images=60",
    "assess.corruptions=['gaussian_noise','contrast']",
)
FEW = "data.num_train=576"  # 9 steps of an epoch

ROOT = Path(__file__).resolve().parents[2]


def ruggedize(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command and wait for it."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, env=env())


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a command and go on."""
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env()
    )


def saving_often(*arguments: str | Path, start_new_session: bool = False) -> subprocess.Popen[str]:
    """Start a command that saves its state after every step; its output goes nowhere."""
    line = [sys.executable, "-m", "tests.behaviour.saving_often", *map(str, arguments)]
    return subprocess.Popen(
        line,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=env(),
        start_new_session=start_new_session,
    )


def wait_until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Look again and again, until a process at work has come to some point."""
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, "it ended before it came there"
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def steps_saved(folder: Path) -> list[int]:
    """List the steps of the states in a training's folder."""
    return sorted(int(path.name[:8]) for path in folder.glob("state/0*.safetensors"))


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ruggedize", *map(str, arguments)]


def env() -> dict[str, str]:
    """One thread: tiny nets gain nothing from more, and figures stay the same on any machine."""
    without_data = {k: v for k, v in os.environ.items() if k != "RUGGEDIZE_DATA"}
    return without_data | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def tiny_demo(out: Path, *more: str) -> list[str]:
    """Return the arguments of the demo at a size that takes seconds."""
    own_data = any(change.startswith(("data.name=", "data.num_train=")) for change in more)
    few = () if own_data else (FEW,)
    changes = [part for change in (*TINY, *few, *more) for part in ("--set", change)]
    return ["run", "demo", "--out", str(out), *changes]
