"""Runs killed at moments spread over their whole length end with the very same bytes.

Teacher: averaged snapshots (SWA) and a plateau; student: EMA and early stopping. The runs that are
killed save their state after every step, the one that is compared with only at an epoch's end: so
saving changes nothing either.
"""

import contextlib
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.runs import evenkeel, saving_often, steps_saved, tiny_demo, wait_until

CHANGES = (
    "teacher.epochs=4",
    "teacher.averaging={kind='swa', start=0.0, every=2}",
    "teacher.schedule={kind='plateau', patience=1, min_delta=0.5}",
    "student.epochs=8",
    "student.averaging={kind='ema', decay=0.9}",
    "student.optimiser.lr=0.3",
    "student.early_stopping={patience=1}",
)
RESULTS = ("teacher/model.safetensors", "student/model.safetensors", "assessment.json")
STEPS = 18  # of an epoch
TIMES = ("seconds", "images_per_second")
Reached = Callable[[Path], bool]


def arguments(out: Path) -> list[str]:
    return tiny_demo(out, *CHANGES)


def rows(out: Path, who: str) -> list[dict[str, Any]]:
    """Read the log as it lies there; a half line would be no JSON."""
    path = out / who / "metrics.jsonl"
    return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []


def timeless(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in found]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run once without any interruption; check that all that is claimed came to pass."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    result = evenkeel(*arguments(out))
    assert result.returncode == 0, result.stderr
    rates = [row["lr"] for row in rows(out, "teacher")]
    assert rates[-1] < rates[0], "the plateau never acted"
    assert 1 < len(rows(out, "student")) < 8, "the student never stopped early"
    assert all(row["validation"]["averaged"] for row in rows(out, "teacher")[1:])
    return out


def when_step_is_saved(who: str) -> Callable[[random.Random], Reached]:
    def choose(rng: random.Random) -> Reached:
        step = rng.randrange(1, 2 * STEPS)
        return lambda out: max(steps_saved(out / who), default=0) >= step

    return choose


def when_epoch_is_logged(who: str) -> Callable[[random.Random], Reached]:
    """Choose the moment between the line in the log and the state that goes with it."""

    def choose(rng: random.Random) -> Reached:
        epoch = rng.randrange(1, 3)
        return lambda out: len(rows(out, who)) >= epoch

    return choose


def while_state_is_written(who: str) -> Callable[[random.Random], Reached]:
    def choose(rng: random.Random) -> Reached:
        step = rng.randrange(2 * STEPS)

        def reached(out: Path) -> bool:
            partial = any((out / who / "state").glob(".*.partial"))
            return partial and max(steps_saved(out / who), default=0) >= step

        return reached

    return choose


def when_there(name: str) -> Callable[[random.Random], Reached]:
    return lambda rng: lambda out: (out / name).exists()


MOMENTS = {
    "a state of the student is written": while_state_is_written("student"),
    "steps of the teacher": when_step_is_saved("teacher"),
    "between teacher and student": when_there("teacher/model.safetensors"),
    "an epoch of the student ends": when_epoch_is_logged("student"),
    "the assessment": when_there("student/model.safetensors"),
    "a state of the teacher is written": while_state_is_written("teacher"),
    "steps of the student": when_step_is_saved("student"),
    "an epoch of the teacher ends": when_epoch_is_logged("teacher"),
    "the beginning": when_there(".lock"),
    "the predictions are written": when_there("predictions/teacher.safetensors"),
}
SEEDS = range(25)


def killed(out: Path, kind: str, rng: random.Random) -> None:
    """Start the run, kill it at its moment, sometimes a little later, and read its logs."""
    reached, delay = MOMENTS[kind](rng), rng.choice((0.0, rng.uniform(0.0, 0.3)))
    process = saving_often(*arguments(out))
    wait_until(process, lambda: reached(out), 0.0 if "written" in kind else 0.002)
    if not kind.startswith("a state"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(delay)
    process.kill()
    process.communicate()
    for who in ("teacher", "student"):
        found = [row["epoch"] for row in rows(out, who)]
        assert found == list(range(1, len(found) + 1)), "an epoch was lost or repeated"


def finished_as(out: Path, expected: Path) -> None:
    """Let the run finish, and compare all that it left."""
    result = evenkeel(*arguments(out))
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    for name in RESULTS:
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name
    for who in ("teacher", "student"):
        assert timeless(rows(out, who)) == timeless(rows(expected, who))
    assert not list(out.rglob("*.partial"))


def killed_once(unbroken: Path, out: Path, seed: int) -> None:
    kind = list(MOMENTS)[seed % len(MOMENTS)]
    killed(out, kind, random.Random(seed))
    finished_as(out, unbroken)


@pytest.mark.more
@pytest.mark.parametrize("seed", SEEDS[:5])
def test_a_run_killed_at_a_moment_ends_the_same(unbroken: Path, tmp_path: Path, seed: int) -> None:
    killed_once(unbroken, tmp_path / "run", seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_killed_at_any_moment_ends_the_same(
    unbroken: Path, tmp_path: Path, seed: int
) -> None:
    killed_once(unbroken, tmp_path / "run", seed)


@pytest.mark.long
def test_a_run_killed_ten_times_ends_the_same(unbroken: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    in_order = ["the beginning", *(kind for kind in MOMENTS if "teacher" in kind)]
    in_order += [kind for kind in MOMENTS if "student" in kind and "between" not in kind]
    for kind in (*in_order, "the assessment", "the predictions are written"):
        killed(tmp_path / "run", kind, rng)
    finished_as(tmp_path / "run", unbroken)
