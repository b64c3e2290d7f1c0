"""Trainings that are stopped from outside: by a signal, a full disk, a second process."""

import contextlib
import hashlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from ruggedize.assess import progress_file
from tests.behaviour.runs import (
    FEW,
    ruggedize,
    saving_often,
    started,
    steps_saved,
    tiny_demo,
    wait_until,
)

STEPS = 9  # of an epoch
CHANGES = (
    FEW,
    "teacher.model.width=8",
    "teacher.epochs=3",
    "teacher.averaging.decay=0.7",  # reached, so that nothing is warned of
    "teacher.deliver=average",  # raw weights after nine steps would be delivered with a warning
)
LARGEST = 1_000_000  # bytes of a file: the model's 0.4 MB fit, a state's 1.7 MB do not


def arguments(out: Path) -> list[str]:
    changes = [part for change in CHANGES for part in ("--set", change)]
    return ["train-teacher", "demo", "--out", str(out), *changes]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Train without any interruption and give the model's bytes."""
    out = tmp_path_factory.mktemp("unbroken")
    result = ruggedize(*arguments(out))
    assert result.returncode == 0, result.stderr
    return (out / "model.safetensors").read_bytes()


def goes_on(out: Path, expected: bytes) -> None:
    """Repeat the command: it ends with the bytes of a training never interrupted."""
    result = ruggedize(*arguments(out))
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    assert (out / "model.safetensors").read_bytes() == expected
    assert not list(out.rglob("*.partial"))


def states_are_whole(out: Path) -> bool:
    """Check the states as they lie there against the hashes in their names."""
    hashes = {x.stem[9:]: hashlib.sha256(x.read_bytes()) for x in out.glob("state/*.safetensors")}
    return all(digest.hexdigest()[:16] == name for name, digest in hashes.items())


@pytest.mark.more
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)],
)
def test_a_signal_within_an_epoch_finishes_the_step_and_saves(
    expected: bytes, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process = saving_often(*arguments(tmp_path))
    wait_until(process, lambda: bool(steps_saved(tmp_path)))
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    assert said.splitlines()[-2:] == [
        "ruggedize: stopped; resume with",
        f"ruggedize {' '.join(arguments(tmp_path))}",
    ]
    assert "Traceback" not in said
    assert "WARNING" not in said
    assert 0 < max(steps_saved(tmp_path)) < 3 * STEPS
    assert states_are_whole(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    goes_on(tmp_path, expected)


@pytest.mark.more
def test_loading_is_stopped_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    """The pictures are checked for a while: one picture under many names."""
    place = tmp_path / "photos" / "train" / "apple"
    place.mkdir(parents=True)
    Image.new("RGB", (400, 400)).save(place / "0.png")
    for number in range(1, 10_000):
        os.link(place / "0.png", place / f"{number}.png")
    (place.parent / "pear").mkdir()
    os.link(place / "0.png", place.parent / "pear" / "0.png")
    changes = ["data.image_size=16", "data.streaming=true", "data.workers=1"]
    process = saving_often(*tiny_demo(tmp_path / "run", f"data.name={place.parents[1]}", *changes))
    wait_until(process, lambda: bool(psutil.Process(process.pid).children()))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.more
@pytest.mark.parametrize(
    "moment", [pytest.param(".lock", marks=pytest.mark.long), "student/model.safetensors"]
)
def test_beginning_and_assessing_are_stopped_at_once(tmp_path: Path, moment: str) -> None:
    process = saving_often(*tiny_demo(tmp_path / "run"))
    wait_until(process, (tmp_path / "run" / moment).exists)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert "ruggedize: stopped; resume with" in said.splitlines()
    assert "Traceback" not in said
    assert not (tmp_path / "run" / "assessment.json").exists()
    result = ruggedize(*tiny_demo(tmp_path / "run"))
    assert result.returncode == 0, result.stderr
    assert not list((tmp_path / "run").glob("*-progress-*"))


@pytest.mark.more
def test_a_stopped_assessment_continues(tmp_path: Path) -> None:
    result = ruggedize(*tiny_demo(tmp_path / "run"))
    assert result.returncode == 0, result.stderr
    options = ("--severities", "1-5", "--option", "frost.textures=procedural")
    command = ("assess", str(tmp_path / "run"), *options, "--out")
    process = saving_often(*command, str(tmp_path / "cut.json"))
    wait_until(process, progress_file(tmp_path / "cut.json").exists)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert "ruggedize: stopped; resume with" in said
    assert not (tmp_path / "cut.json").exists()
    for name in ("cut.json", "whole.json"):
        result = ruggedize(*command, str(tmp_path / name))
        assert result.returncode == 0, result.stderr
        assert ("assess: continues after" in result.stderr) == (name == "cut.json")
    assert not list(tmp_path.glob("*-progress-*"))
    assert (tmp_path / "cut.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk that holds the model and two states, but no third beside them."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(place)]
    if subprocess.run(options, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here; the limit on a file's size is tested instead")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.more
def test_a_full_disk_stops_with_one_line_and_whole_states(
    expected: bytes, small_disk: Path
) -> None:
    result = ruggedize(*arguments(small_disk / "run"))
    last_line = result.stderr.splitlines()[-1]
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert ".safetensors: No space left on device;\n" in result.stderr
    assert last_line.endswith("free some space and run the same command again")
    assert steps_saved(small_disk / "run") == [STEPS, 2 * STEPS]
    assert states_are_whole(small_disk / "run")
    assert not list(small_disk.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    goes_on(small_disk / "run", expected)


@pytest.mark.more
def test_a_limit_on_a_file_s_size_stops_with_one_line(expected: bytes, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, hard))  # children take it over
    try:
        result = ruggedize(*arguments(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.returncode == 2, result.stderr
    assert ".safetensors: File too large;\n" in result.stderr
    assert (tmp_path / "initial.safetensors").exists()
    assert not list((tmp_path / "state").iterdir())
    goes_on(tmp_path, expected)


@pytest.mark.more
def test_the_second_process_in_a_training_s_folder_is_rejected(tmp_path: Path) -> None:
    """The teacher's folder is held against a run, against its like and against a student."""
    first = started(*arguments(tmp_path / "teacher"))
    wait_until(first, (tmp_path / "teacher" / "initial.safetensors").exists)
    with held_still(first):  # it holds the folder for as long as it lives
        rejected_to_all_others(first, tmp_path)


def rejected_to_all_others(first: subprocess.Popen[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    student = ["train-student", "demo", *("--out", str(tmp_path / "teacher"))]
    student += ["--teacher", str(tmp_path / "teacher" / "initial.safetensors")]
    student += ["--set", "student.model.width=8"]
    for command in (arguments(tmp_path / "teacher"), student):
        result = ruggedize(*command)
        assert result.returncode == 2, result.stderr
        assert f"is being written by process {first.pid} on " in result.stderr
        assert len(result.stderr.splitlines()) <= 3
    assert sorted(tmp_path.rglob("*")) == before


@contextlib.contextmanager
def held_still(process: subprocess.Popen[str]) -> Iterator[None]:
    """Stop a process where it stands, and kill it in the end."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.mark.more
def test_the_second_process_in_a_run_s_folder_is_rejected(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = started(*tiny_demo(out))
    wait_until(first, (out / "teacher" / "initial.safetensors").exists)
    with held_still(first):
        before = sorted(tmp_path.rglob("*"))
        result = ruggedize(*tiny_demo(out))
        assert result.returncode == 2, result.stderr
        assert f"{out} is being written by process {first.pid} on " in result.stderr
        assert sorted(tmp_path.rglob("*")) == before
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 0, result.stderr
