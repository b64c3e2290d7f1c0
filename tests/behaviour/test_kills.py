"""Runs killed at moments spread over their whole length end with the very same bytes.

Teacher: averaged snapshots (SWA) and a plateau; student: EMA and early stopping. The runs that are
killed save their state after every step, the one that is compared with only at an epoch's end: so
saving changes nothing either.
"""

import contextlib
import json
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.runs import ruggedize, saving_often, steps_saved, tiny_demo, wait_until

CHANGES = (
    "data.num_train=1097",  # all
    "teacher.epochs=4",
    "teacher.averaging={kind='swa', start=0.0, every=2}",
    "teacher.deliver=average",
    "student.deliver=average",
    "teacher.schedule={kind='plateau', patience=1, min_delta=10.0}",
    "student.epochs=8",
    "student.averaging={kind='ema', decay=0.9}",
    "student.optimiser.lr=0.3",
    "student.early_stopping={patience=1}",
    "student.watch=accuracy",
)
AVERAGED = ("student.deliver=average", "student.averaging={kind='ema', decay=0.9}")
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
    result = ruggedize(*arguments(out))
    assert result.returncode == 0, result.stderr
    rates = [row["lr"] for row in rows(out, "teacher")]
    assert rates[-1] < rates[0], "the plateau never acted"
    assert 1 < len(rows(out, "student")) < 8, "the student never stopped early"
    assert all(row["validation"]["averaged"] for row in rows(out, "teacher")[1:])
    return out


def step_saved(who: str, step: int) -> Reached:
    return lambda out: max(steps_saved(out / who), default=0) >= step


def epoch_logged(who: str, epoch: int) -> Reached:
    """Return the moment between the line in the log and the state that goes with it."""
    return lambda out: len(rows(out, who)) >= epoch


def state_half_written(who: str, step: int) -> Reached:
    later = step_saved(who, step)
    return lambda out: any((out / who / "state").glob(".*.partial")) and later(out)


def there(name: str) -> Reached:
    return lambda out: (out / name).exists()


def moments(rng: random.Random) -> list[Reached]:
    """Draw one moment of each kind."""
    step, epoch = rng.randrange(1, 2 * STEPS), rng.randrange(1, 3)
    later = rng.randrange(2 * STEPS, 4 * STEPS)  # in the second half of the teacher's training
    return [
        state_half_written("student", step - 1),
        step_saved("teacher", step),
        there("teacher/model.safetensors"),
        epoch_logged("student", epoch),
        there("student/model.safetensors"),
        state_half_written("teacher", later - 1),
        step_saved("student", step),
        epoch_logged("teacher", epoch),
        there(".lock"),
        step_saved("teacher", later),
        there("predictions/teacher.safetensors"),
    ]


def killed(out: Path, reached: Reached, delay: float = 0.0) -> None:
    """Start the run, kill it at its moment or a little later, and read its logs."""
    process = saving_often(*arguments(out))
    wait_until(process, lambda: reached(out))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    for who in ("teacher", "student"):
        found = [row["epoch"] for row in rows(out, who)]
        assert found == list(range(1, len(found) + 1)), "an epoch was lost or repeated"


def finished_as(out: Path, expected: Path) -> None:
    """Finish the run and compare all that it left."""
    result = ruggedize(*arguments(out))
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    for name in RESULTS:
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name
    for who in ("teacher", "student"):
        assert timeless(rows(out, who)) == timeless(rows(expected, who))
    assert not list(out.rglob("*.partial"))


def killed_once(unbroken: Path, out: Path, seed: int) -> None:
    rng = random.Random(seed)
    drawn = moments(rng)
    killed(out, drawn[seed % len(drawn)], rng.choice((0.0, rng.uniform(0.0, 0.3))))
    finished_as(out, unbroken)


@pytest.mark.more
@pytest.mark.parametrize("seed", [3])  # between an epoch's line in the log and its state
def test_a_run_killed_at_a_moment_ends_the_same(unbroken: Path, tmp_path: Path, seed: int) -> None:
    killed_once(unbroken, tmp_path / "run", seed)


@pytest.mark.more
@pytest.mark.parametrize("kind", [pytest.param("jsd", marks=pytest.mark.long), "mean-teacher"])
def test_every_objective_is_resumed_to_the_same_bytes(tmp_path: Path, kind: str) -> None:
    own = ("without_teacher=true", "student.epochs=2", f"student.objective={kind}", *AVERAGED)

    def command(out: Path) -> list[str]:
        return tiny_demo(out, *own)

    assert ruggedize(*command(tmp_path / "whole")).returncode == 0
    process = saving_often(*command(tmp_path / "killed"))
    wait_until(process, lambda: step_saved("student", 7)(tmp_path / "killed"))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    assert ruggedize(*command(tmp_path / "killed")).returncode == 0
    for name in RESULTS[1:]:
        whole, resumed = (tmp_path / run / name for run in ("whole", "killed"))
        assert whole.read_bytes() == resumed.read_bytes(), name
    first = (tmp_path / "whole" / "student" / "initial.safetensors").read_bytes()
    assert first != (tmp_path / "whole" / "student" / "model.safetensors").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(25))
def test_a_run_killed_at_any_moment_ends_the_same(
    unbroken: Path, tmp_path: Path, seed: int
) -> None:
    killed_once(unbroken, tmp_path / "run", seed)


@pytest.mark.long
def test_a_run_killed_ten_times_ends_the_same(unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for reached in (
        step_saved("teacher", 5),
        state_half_written("teacher", 12),
        epoch_logged("teacher", 1),
        step_saved("teacher", 30),
        state_half_written("teacher", 50),
        there("teacher/model.safetensors"),
        step_saved("student", 4),
        state_half_written("student", 10),
        epoch_logged("student", 1),
        there("student/model.safetensors"),
    ):
        killed(out, reached)
    finished_as(out, unbroken)
