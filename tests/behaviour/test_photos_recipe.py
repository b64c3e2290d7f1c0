"""The recipe photos, from a folder of JPEG files and a file of weights to a report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign import environment, timm_weights
from tests.photographs import save_photographs

SIZES = [(90, 60), (64, 64), (50, 80)]
LESS = (
    "views.crop=32",
    "teacher.epochs=2",
    "student.epochs=1",
    "stages.wise.alphas=[0.0, 0.5, 1.0]",
    "stages.wise.num_images=8",
    "assess.corruptions=['contrast', 'saturate']",
    "assess.num_images=8",
)


def ruggedize(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruggedize", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment())


def run(photos: Path, out: Path, *changes: str) -> subprocess.CompletedProcess[str]:
    sets = [word for change in (*LESS, *changes) for word in ("--set", change)]
    return ruggedize("run", "photos", "--data", str(photos), "--out", str(out), *sets)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photographs(tmp_path_factory.mktemp("photos"), SIZES, per_class=20)


@pytest.mark.more
def test_a_folder_of_photographs_becomes_a_report_and_an_exported_model(
    photos: Path, tmp_path: Path
) -> None:
    file, out = tmp_path / "weights.safetensors", tmp_path / "run"
    timm_weights(file, "test_resnet", 7)
    changes = (
        "teacher.model.name=timm/test_resnet",
        f"teacher.model.pretrained={file}",
        "control=true",
    )
    done = run(photos, out, *changes)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "40 images of 2 classes to train and validate on, 40 to test on; chosen:" in said
    assert "data.validation = 0.2" in said
    assert "fewer than 50" in said
    assert "the whole run: about" in said
    models = json.loads((out / "assessment.json").read_text())["models"]
    assert list(models) == ["teacher", "noise-only", "student", "wise"]
    assert "Between start and end" in (out / "report.html").read_text()
    again = run(photos, out, *changes)
    assert (again.returncode, "already finished" in again.stdout) == (0, True), again.stderr
    exported = tmp_path / "wise.safetensors"
    done = ruggedize("export", str(out), "--format", "state-dict", "--out", str(exported))
    assert (done.returncode, exported.exists()) == (0, True), done.stderr


@pytest.mark.more
def test_without_published_weights_the_alternatives_are_named(photos: Path, tmp_path: Path) -> None:
    done = run(photos, tmp_path / "run", "teacher.model.name=timm/test_resnet.r160_in1k")
    assert done.returncode == 2
    for text in ("pretrained=FILE.safetensors", "pretrained=false", "hf download"):
        assert text in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.more
def test_a_run_measures_its_network_once(photos: Path, tmp_path: Path) -> None:
    changes = ("teacher.model.pretrained=false", "training_hours=1e-7", "views.crop=64")
    first = run(photos, tmp_path / "run", *changes)
    assert first.returncode == 0, first.stderr
    assert "network: timm/mobilenetv3_small_100" in first.stderr
    assert "is not known beforehand" in " ".join(first.stderr.split())
    (tmp_path / "run" / "report.html").unlink()
    second = run(photos, tmp_path / "run", *changes)
    assert (second.returncode, "network:" in second.stderr) == (0, False), second.stderr
    assert (tmp_path / "run" / "report.html").exists()
