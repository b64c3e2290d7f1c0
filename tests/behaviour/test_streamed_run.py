"""A folder that is streamed gives the run that it gives from memory, byte for byte."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.behaviour.runs import ruggedize, saving_often, steps_saved, tiny_demo, wait_until

RESULTS = (
    "teacher/model.safetensors",
    "student/model.safetensors",
    "assessment.json",
    "predictions/student.safetensors",
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part, number in (("train", 60), ("test", 20)):
        for name, middle in (("dim", 70), ("light", 150)):
            (root / part / name).mkdir(parents=True)
            for place in range(number):
                pixels = rng.normal(middle, 40, (32, 36, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{place:02}.png")
    return root


@pytest.mark.more
def test_a_streamed_run_ends_with_the_bytes_of_one_from_memory(photos: Path, tmp_path: Path):
    for name, how in (("memory", "false"), ("streamed", "true")):
        changes = [f"data.name={photos}", "data.image_size=32", "data.validation=20"]
        changes.append(f"data.streaming={how}")
        result = ruggedize(*tiny_demo(tmp_path / name, *changes))
        assert result.returncode == 0, result.stderr
    for file in RESULTS:
        ours, theirs = ((tmp_path / name / file).read_bytes() for name in ("memory", "streamed"))
        assert ours == theirs, file
    assert len((tmp_path / "streamed/student/metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.long
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_all_processes_leaves_the_workers_to_the_main_one(
    photos: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """A terminal's Ctrl-C and a scheduler's SIGTERM reach the processes that decode as well."""
    changes = ("teacher.model.width=8", f"data.name={photos}", "data.image_size=32")
    changes += ("data.validation=20", "data.streaming=true", "teacher.batch_size=16")
    arguments = [part for change in changes for part in ("--set", change)]
    arguments = ["train-teacher", "demo", "--out", str(tmp_path), *arguments]
    process = saving_often(*arguments, start_new_session=True)
    wait_until(process, lambda: bool(steps_saved(tmp_path)))
    os.killpg(process.pid, number)
    assert process.wait(timeout=120) == status
    _, said = process.communicate(timeout=20)  # ends when no worker is left to write
    assert "Traceback" not in said
    assert "ruggedize: stopped; resume with" in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert ruggedize(*arguments).returncode == 0
    unbroken = [part.replace(str(tmp_path), str(tmp_path / "unbroken")) for part in arguments]
    assert ruggedize(*unbroken, "--set", "data.streaming=false").returncode == 0
    ours, theirs = (folder / "model.safetensors" for folder in (tmp_path, tmp_path / "unbroken"))
    assert ours.read_bytes() == theirs.read_bytes()
