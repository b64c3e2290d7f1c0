"""An error in one of two processes is handled by both."""

import json
import subprocess
from pathlib import Path

import pytest

from ruggedize.core.lock import only_writer
from tests.behaviour.runs import steps_saved
from tests.distributed.faulty_worker import ROOM, SHARE, STEP
from tests.distributed.launching import launched

pytestmark = pytest.mark.more


def train(folder: Path, fault: str, batch_size: int = 2 * SHARE) -> subprocess.CompletedProcess:
    worker = "tests.distributed.faulty_worker"
    return launched(worker, folder, fault, str(batch_size), num_processes=2)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("unbroken")
    result = train(folder, "none")
    assert result.returncode == 0, result.stderr[-2000:]
    return (folder / "model.safetensors").read_bytes()


def test_a_signal_to_one_process_stops_both_after_the_same_step(
    unbroken: bytes, tmp_path: Path
) -> None:
    result = train(tmp_path, "signal")
    assert result.returncode != 0
    assert steps_saved(tmp_path) == [16, 20]  # the first epoch's end; when they next agreed
    result = train(tmp_path, "none")
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "model.safetensors").read_bytes() == unbroken


def test_a_loss_that_is_not_finite_on_one_process_stops_both(
    unbroken: bytes, tmp_path: Path
) -> None:
    result = train(tmp_path, "nan")
    assert result.returncode != 0
    assert f"became infinite or NaN at step {STEP} (epoch 2)" in result.stderr
    assert steps_saved(tmp_path) == [16, STEP - 1]
    record = json.loads((tmp_path / "not_finite.json").read_text())
    assert len(record["images"]) == 2 * SHARE  # of both processes
    result = train(tmp_path, "none")
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "model.safetensors").read_bytes() == unbroken


@pytest.mark.parametrize(("fault", "saved"), [("memory", []), ("late memory", [4])])
def test_if_one_process_runs_out_of_memory_both_end_with_a_fix(
    tmp_path: Path, fault: str, saved: list[int]
) -> None:
    result = train(tmp_path, fault, batch_size=4 * ROOM)
    assert result.returncode != 0
    assert "is out of memory;" in result.stderr
    assert "set teacher.microbatches = 2" in result.stderr
    assert steps_saved(tmp_path) == saved


def test_processes_with_different_images_are_rejected_before_a_step(tmp_path: Path) -> None:
    result = train(tmp_path, "data")
    assert result.returncode != 0
    assert (
        "teacher: the processes have different images or options (this one has 6" in result.stderr
    )
    assert not (tmp_path / "initial.safetensors").exists()


def test_processes_with_different_states_are_rejected(tmp_path: Path) -> None:
    train(tmp_path, "nan")
    result = train(tmp_path, "states")
    assert result.returncode != 0
    assert f"the processes found states of different steps: 0, {STEP - 1};" in result.stderr


def test_a_folder_locked_by_another_process_is_rejected_by_both(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        result = train(tmp_path, "none")
    assert result.returncode != 0
    assert "is being written by process" in result.stderr
    assert not (tmp_path / "initial.safetensors").exists()
