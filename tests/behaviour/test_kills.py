"""Runs killed at moments spread over their whole length end with the very same bytes."""

import random
import time
from pathlib import Path

import pytest

from tests.behaviour.runs import evenkeel, started, tiny_demo

LONGER = ("teacher.epochs=4", "student.epochs=4", "teacher.schedule={kind='plateau', patience=1}")
OTHER = ("teacher.averaging='swa'", "teacher.averaging.start=0.0", "student.averaging='ema'")
RESULTS = ("teacher/model.safetensors", "student/model.safetensors", "assessment.json")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Run once without any interruption, and time it."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    begun = time.monotonic()
    result = evenkeel(*tiny_demo(out, *LONGER, *OTHER))
    assert result.returncode == 0, result.stderr
    return out, time.monotonic() - begun


def killed_until_finished(out: Path, seconds: list[float]) -> None:
    """Start the run as often as there are moments, kill it at each, then let it finish."""
    for moment in seconds:
        process = started(*tiny_demo(out, *LONGER, *OTHER))
        time.sleep(moment)
        process.kill()
        process.wait()
    result = evenkeel(*tiny_demo(out, *LONGER, *OTHER))
    assert result.returncode == 0, result.stderr


def compare(out: Path, expected: Path) -> None:
    for name in RESULTS:
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name


@pytest.mark.more
def test_a_run_killed_three_times_ends_the_same(unbroken, tmp_path: Path) -> None:
    expected, duration = unbroken
    moments = [random.Random(seed).uniform(0.3, 0.9) * duration for seed in range(3)]
    killed_until_finished(tmp_path / "run", moments)
    compare(tmp_path / "run", expected)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(25))
def test_a_run_killed_at_any_moment_ends_the_same(unbroken, tmp_path: Path, seed: int) -> None:
    expected, duration = unbroken
    killed_until_finished(tmp_path / "run", [random.Random(seed).uniform(0.05, 1.0) * duration])
    compare(tmp_path / "run", expected)
