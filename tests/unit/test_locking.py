"""A folder has one writer at a time, and its lock ends with its process."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.core.files import write_atomically
from ruggedize.core.lock import only_writer

HOLD = """
import os, sys, time
from pathlib import Path
from ruggedize.core.lock import only_writer
with only_writer(Path(sys.argv[1])):
    if "fork" in sys.argv:
        alive, child = os.pipe()
        if os.fork() == 0:
            os.write(child, b"x")
            time.sleep(60)
        os.read(alive, 1)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def holder(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Lock a folder from another process."""
    command = [sys.executable, "-c", HOLD, str(folder), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(process.pid)
    return process


def test_the_second_process_is_rejected_with_the_name_of_the_first(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with (
        pytest.raises(UserError, match=rf"written by process {process.pid} on .*;\nwait for it"),
        only_writer(tmp_path),
    ):
        pass
    process.kill()
    process.wait()
    with only_writer(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_forked_child_does_not_outlive_its_parent_s_lock(tmp_path: Path) -> None:
    process = holder(tmp_path, "fork")
    process.kill()
    process.wait()
    try:
        with only_writer(tmp_path):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the child is a group's last member


def test_a_forked_child_does_not_release_its_parents_lock(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(UserError), only_writer(tmp_path):
            pass


def test_partial_files_of_a_killed_process_are_deleted_but_not_those_of_another_writer(
    tmp_path: Path,
) -> None:
    for place in (tmp_path, tmp_path / "state", tmp_path / "teacher"):
        write_atomically(place / "whole", b"x")
        (place / ".model.7.partial").write_bytes(b"half")
    with only_writer(tmp_path / "teacher"):
        (tmp_path / "teacher" / ".model.7.partial").write_bytes(b"being written")
        with only_writer(tmp_path):
            left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.partial")]
    assert left == ["teacher/.model.7.partial"]
    assert len(list(tmp_path.rglob("whole"))) == 3


def test_a_drive_without_locks_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), only_writer(tmp_path):
        pass
    assert "does not support locks" in caplog.text


def test_the_partial_copy_of_a_training_is_deleted_but_no_other_folder(tmp_path: Path) -> None:
    for name in (".teacher.0123abcd.partial", ".mine.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    with only_writer(tmp_path):
        left = sorted(path.name for path in tmp_path.glob("*.partial"))
    assert left == [".mine.partial"]
