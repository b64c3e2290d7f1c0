"""If a process dies, the others end with an error, and the run can resume with another number."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ruggedize.train.checkpoint import NUM_KEPT
from ruggedize.train.optim import rate_at
from tests.behaviour.runs import tiny_demo
from tests.distributed.launching import launched, one_by_one
from tests.distributed.test_two_processes import TOLERANCE
from tests.distributed.trainings import left_by, trained
from tests.distributed.worker import job_of

pytestmark = pytest.mark.more

LIMIT = 60.0  # seconds from a death to the end of the others
STEPS = 5  # of an epoch
IN_SECOND_EPOCH = 7
GHOSTS: dict[str, Any] = {"network": "as it is", "ghost_batches": 2, "batch_size": 16}
WISHES: dict[str, dict[str, Any]] = {"without batch norm": {}, "ghost batches": GHOSTS}


def broken_off(
    folder: Path, num_processes: int, victim: int, kind: str, at: int = IN_SECOND_EPOCH, **wish: Any
) -> None:
    """Start a training in which one process is killed after a step; see the others end."""
    dying = json.dumps({str(folder): wish | {"dies": f"{victim} at {at}"}})
    result = launched("tests.distributed.worker", dying, num_processes=num_processes, kind=kind)
    assert time.time() - folder.with_name(f"{folder.name}-died").stat().st_mtime < LIMIT
    assert result.returncode != 0
    assert not (folder / "model.safetensors").exists()
    assert len(list((folder / "state").iterdir())) == min(NUM_KEPT, at // STEPS)


@pytest.mark.parametrize(
    ("kind", "victim"),
    [
        ("accelerate", 0),
        ("torch", 1),
        pytest.param("accelerate", 1, marks=pytest.mark.long),
        pytest.param("torch", 0, marks=pytest.mark.long),
    ],
)
def test_a_launcher_ends_the_others(tmp_path: Path, kind: str, victim: int) -> None:
    broken_off(tmp_path / "run", 2, victim, kind)


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.long)])
def test_without_a_launcher_the_others_end_by_themselves(tmp_path: Path, victim: int) -> None:
    out = tmp_path / "run"
    processes = one_by_one("ruggedize", *tiny_demo(out, "teacher.epochs=500"), num_processes=2)
    try:
        wait_for_state(out / "teacher" / "state")
        processes[victim].kill()
        said, _ = processes[1 - victim].communicate(timeout=LIMIT)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert processes[1 - victim].returncode == 2
    assert "ruggedize: another process of this run has ended or cannot be reached" in said
    assert "Traceback" not in said
    assert any((out / "teacher" / "state").iterdir())


def wait_for_state(folder: Path) -> None:
    """Wait until a training has saved its first state."""
    deadline = time.monotonic() + 2 * LIMIT
    while not any(folder.glob("*.safetensors")):
        assert time.monotonic() < deadline, "no state was saved"
        time.sleep(0.1)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
@pytest.mark.parametrize(
    "name", [pytest.param("without batch norm", marks=pytest.mark.long), "ghost batches"]
)
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, name: str, before: int, after: int
) -> None:
    wish = WISHES[name]
    broken_off(tmp_path / "run", before, before - 1, "torch", **wish)
    trained(tmp_path / "run", after, **wish)
    unbroken = trained(tmp_path / "unbroken", 1, **wish)
    run = left_by(tmp_path / "run", after)
    assert [row["steps"] for row in run.rows] == [row["steps"] for row in unbroken.rows]
    assert len(run.notes[0]["seen"]) == run.rows[0]["steps"]  # the second epoch's steps alone
    for part, weight in unbroken.weights.items():
        near = TOLERANCE[weight.dtype]
        torch.testing.assert_close(run.weights[part], weight, **near, msg=part)


def test_learning_rates_stay_on_the_schedule_if_the_steps_per_epoch_change(tmp_path: Path) -> None:
    """The last three of 67 images are a batch for one process and too few for two."""
    wish: dict[str, Any] = {"batch_size": 16, "epochs": 10, "num_images": 67}
    broken_off(tmp_path / "run", 1, 0, "torch", at=8 * 5 + 1, **wish)
    trained(tmp_path / "run", 2, **wish)
    rows = left_by(tmp_path / "run", 2).rows
    assert [row["steps"] for row in rows[-3:]] == [40, 44, 48]  # 48 steps taken of 40 planned
    stage = job_of(tmp_path, "without", 67, {"batch_size": 16})
    lr, schedule = stage.options.optimiser.lr, stage.options.schedule
    plan = [(5 * epoch + 4, 50) for epoch in range(8)] + [(35, 40), (39, 40)]
    expected = [lr * rate_at(schedule, step, num_steps) for step, num_steps in plan]
    assert [row["lr"] for row in rows] == pytest.approx(expected)
    assert all(row["lr"] > 0 for row in rows)
