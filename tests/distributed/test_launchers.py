"""A whole run in two processes, of which only the first writes and logs."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ruggedize.assess import progress_file
from tests.behaviour.runs import ruggedize, steps_saved, tiny_demo, wait_until
from tests.distributed.launching import (
    ROOT,
    environment,
    free_port,
    launched,
    launcher,
)

pytestmark = pytest.mark.more


@pytest.mark.parametrize("kind", ["torch", pytest.param("accelerate", marks=pytest.mark.long)])
def test_a_whole_run_works_in_two_processes(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "run"
    arguments = [tmp_path, *tiny_demo(out), "--track", "tensorboard"]
    result = launched("tests.distributed.watched", *arguments, num_processes=2, kind=kind)
    assert result.returncode == 0, result.stderr[-2000:]
    for name in ("teacher", "student"):
        assert json.loads((out / name / "delivered.json").read_text())["processes"] == 2
        assert len((out / name / "metrics.jsonl").read_text().splitlines()) == 2
    assert result.stdout.count("report:") == 1
    written = [json.loads((tmp_path / f"written-{rank}.json").read_text()) for rank in (0, 1)]
    assert all("assessment-progress-1" in path for path in written[1])
    assert not list(out.glob("*-progress-*"))
    assert len(list(out.glob("tensorboard/events*"))) == 1
    assert {str(out / "teacher" / "model.safetensors"), str(out / "report.html")} <= {*written[0]}


def test_a_run_of_two_processes_that_was_killed_goes_on_in_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    two = subprocess.Popen(
        [*launcher("torch", 2), "ruggedize", *tiny_demo(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
        text=True,
    )
    try:
        wait_until(two, lambda: bool(steps_saved(out / "student")))
    finally:
        for process in (*psutil.Process(two.pid).children(recursive=True), two):
            process.kill()
            process.wait()
    result = ruggedize(*tiny_demo(out), "--resume")
    assert result.returncode == 0, result.stderr
    delivered = [
        json.loads((out / name / "delivered.json").read_text())["processes"]
        for name in ("teacher", "student")
    ]
    assert delivered == [2, 1]
    assert len((out / "student" / "metrics.jsonl").read_text().splitlines()) == 2


def test_an_assessment_that_was_stopped_in_two_processes_continues_in_them(tmp_path: Path) -> None:
    out = tmp_path / "run"
    whole = ruggedize(*tiny_demo(out))
    assert whole.returncode == 0, whole.stderr
    options = ["--severities", "1-5", "--option", "frost.textures=procedural", "--out"]
    first, second = (progress_file(tmp_path / "cut.json", rank) for rank in (0, 1))
    command = [*launcher("torch", 2), "tests.behaviour.saving_often", "assess", str(out), *options]
    two = subprocess.Popen(
        [*command, str(tmp_path / "cut.json")],
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
        text=True,
    )
    wait_until(two, lambda: first.exists() and second.exists())
    two.terminate()
    assert two.wait(120) != 0
    assert not (tmp_path / "cut.json").exists()
    said = {}
    for name in ("cut.json", "whole.json"):
        again = launched("ruggedize", "assess", out, *options, tmp_path / name, num_processes=2)
        assert again.returncode == 0, again.stderr
        said[name] = again.stderr.count("assess: continues after")
    assert said == {"cut.json": 1, "whole.json": 0}
    assert not list(tmp_path.glob("*-progress-*"))
    assert (tmp_path / "cut.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_two_launchers_find_one_another_as_two_machines_would(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_machines", "2", "--num_processes", "2", "--main_process_ip", "127.0.0.1"]
    launch += ["--main_process_port", free_port()]
    machines = [
        subprocess.Popen(
            [*launch, "--machine_rank", str(rank), "-m", "ruggedize", *tiny_demo(tmp_path / "run")],
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment(),
        )
        for rank in (0, 1)
    ]
    try:
        assert [machine.wait(300) for machine in machines] == [0, 0]
    finally:
        for machine in machines:
            machine.terminate()
            machine.wait()
    delivered = json.loads((tmp_path / "run" / "student" / "delivered.json").read_text())
    assert delivered["processes"] == 2
    assert (tmp_path / "run" / "report.html").exists()


def test_a_launch_of_one_process_instead_of_two_is_rejected(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command += ["-m", "ruggedize", *tiny_demo(tmp_path / "run")]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300
    )
    assert result.returncode != 0
    assert "started one process instead of several" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "student.ghost_batches=3",
            "student.ghost_batches must be a multiple of the 2 processes, got 3",
        ),
        pytest.param(
            "teacher.batch_size=3",
            "teacher: a step needs at least 4 images",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "teacher.sync_batch_norm=true",
            "sync_batch_norm needs several GPUs",
            marks=pytest.mark.long,
        ),
    ],
)
def test_options_that_two_processes_cannot_share_are_rejected_before_any_training(
    tmp_path: Path, change: str, message: str
) -> None:
    result = launched("ruggedize", *tiny_demo(tmp_path / "run", change), num_processes=2)
    assert result.returncode != 0
    assert result.stderr.count(message) == 1  # both processes reject it, one reports it
    assert not (tmp_path / "run").exists()
