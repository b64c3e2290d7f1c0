"""The whole chain from the command line: a run, what it leaves, and how it goes on."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.behaviour.runs import ruggedize, started, tiny_demo

FILES = (
    "recipe.toml environment.json views.png assessment.json report.html"
    " predictions/teacher.safetensors predictions/student.safetensors"
)
MODEL_FILES = "initial.safetensors model.safetensors metrics.jsonl delivered.json"
LOGGED = {
    "epoch", "steps", "loss", "cross_entropy", "consistency", "accuracy", "validation", "lr",
    "teacher_entropy", "student_entropy", "agreement", "images_per_second", "seconds",
    "difference", "best",
}  # fmt: skip

pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the tiny demo once."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout
    assert "clean" in result.stdout
    (out.parent / "stderr").write_text(result.stderr)
    for name in ("teacher", "student"):  # a line per epoch: standard error is no terminal here
        assert f"\n{name} epoch 2/2: loss " in f"\n{result.stderr}"
    return out


@pytest.mark.parametrize(
    "pattern",
    [
        r'^precision "auto" is (bf16|fp32): a convolution block takes ',
        "^{stage}: (bf16|fp32) on (cpu|cuda)",
        "^(?:WARNING: )?{stage}: delivering the .* of epoch [12], because .*loss: raw .*, average ",
        r"^{stage}: the average ended with a decay of 0\.\d+$",
    ],
)
def test_precision_device_and_delivery_are_shown_once(finished: Path, pattern: str) -> None:
    shown = (finished.parent / "stderr").read_text()
    for stage in ("teacher", "student"):
        found = re.findall(pattern.replace("{stage}", stage), shown, re.MULTILINE)
        assert len(found) == 1, shown


def test_a_run_leaves_its_files(finished: Path) -> None:
    names = FILES.split()
    names += [f"{who}/{name}" for who in ("teacher", "student") for name in MODEL_FILES.split()]
    assert [name for name in names if not (finished / name).is_file()] == []
    assert not list(finished.rglob("*.partial"))


def test_every_epoch_of_the_student_is_logged_in_full(finished: Path) -> None:
    rows = [json.loads(x) for x in (finished / "student/metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row.keys() == LOGGED for row in rows)
    assert all(row["validation"].keys() == {"raw", "averaged"} for row in rows)
    assert rows[-1]["difference"]["num_images"] == 200
    assert 0 < rows[-1]["teacher_entropy"] < 2.31


def test_the_student_names_the_hash_of_its_teacher(finished: Path) -> None:
    import hashlib

    with safe_open(finished / "student/model.safetensors", "np") as file:
        described = json.dumps(file.metadata())
    assert (
        hashlib.sha256((finished / "teacher/model.safetensors").read_bytes()).hexdigest()
        in described
    )


def test_the_same_command_again_does_nothing(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    result = ruggedize(*tiny_demo(finished), "--resume")
    assert result.returncode == 0, result.stderr
    assert "finished" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == before


def test_another_recipe_in_the_same_folder_is_rejected_with_the_keys(finished: Path) -> None:
    result = ruggedize(*tiny_demo(finished, "student.objective.temperature=7"))
    assert result.returncode == 2
    assert "student.objective.temperature" in result.stderr
    assert result.stderr.count("\n") <= 3


def test_a_run_that_was_killed_ends_with_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    """Kill in the student's training: the state of its first epoch is there by then."""
    out = tmp_path / "tiny"
    process = started(*tiny_demo(out))
    state = out / "student" / "state"
    deadline = time.monotonic() + 100
    while not (state.is_dir() and any(state.glob("0*.safetensors"))):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "assessment.json").exists()
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 0, result.stderr
    for name in ("teacher/model.safetensors", "student/model.safetensors", "assessment.json"):
        assert (out / name).read_bytes() == (finished / name).read_bytes(), name


STUDENT = "student/model.safetensors"
MADE_AGAIN = (
    "teacher/model.safetensors",
    "report.html",
    "assessment.json",
    "predictions/student.safetensors",
)


@pytest.mark.parametrize("name", [STUDENT, *MADE_AGAIN])
def test_what_a_finished_run_has_lost_is_made_again(
    finished: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    (out / name).unlink()
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 0, result.stderr
    assert "is finished" not in result.stdout
    assert (out / name).read_bytes() == (finished / name).read_bytes()


def test_models_that_are_not_those_assessed_are_assessed_anew(
    finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    text = (out / "assessment.json").read_text()
    found = json.loads(text)["facts"]["models"]["student"]
    (out / "assessment.json").write_text(text.replace(found, 64 * "0"))
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 0, result.stderr
    assert "is finished" not in result.stdout
    assert (out / "assessment.json").read_text() == text


def test_a_run_of_a_version_without_hashes_goes_on(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    for name in ("teacher", "student"):
        note = json.loads((out / name / "delivered.json").read_text())
        del note["training"], note["sha256"]
        (out / name / "delivered.json").write_text(json.dumps(note))
    shutil.rmtree(out / "teacher/state")
    (out / "report.html").unlink()
    before = (out / STUDENT).stat().st_mtime_ns
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 0, result.stderr
    assert (out / STUDENT).stat().st_mtime_ns == before
    assert (out / "report.html").read_bytes() == (finished / "report.html").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        STUDENT,
        pytest.param("assessment.json", marks=pytest.mark.long),
        "predictions/student.safetensors",
    ],
)
def test_a_damaged_file_of_a_finished_run_is_rejected_with_a_cure_that_works(
    finished: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    damaged = bytearray((out / name).read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (out / name).write_bytes(damaged[:-1])
    (out / "report.html").unlink()
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 2, result.stderr
    assert "delete" in result.stderr
    assert len(result.stderr.splitlines()) <= 3
    (out / name).unlink()
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 0, result.stderr
    assert (out / name).read_bytes() == (finished / name).read_bytes()


def test_a_training_of_an_unknown_run_is_rejected(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    (out / "recipe.toml").unlink()
    result = ruggedize(*tiny_demo(out, "student.epochs=9"))
    assert result.returncode == 2, result.stderr
    assert "contains a training but no recipe.toml" in result.stderr
    (out / "recipe.toml").write_bytes((finished / "recipe.toml").read_bytes()[:200])
    result = ruggedize(*tiny_demo(out))
    assert result.returncode == 2, result.stderr
    assert f"{out}/recipe.toml was edited, or written by another version" in result.stderr
    assert len(result.stderr.splitlines()) <= 3


def test_the_run_s_own_assessment_is_not_overwritten(finished: Path) -> None:
    before = (finished / "assessment.json").read_bytes()
    result = ruggedize("assess", finished, "--out", finished / "assessment.json")
    assert result.returncode == 2
    assert "the run's own assessment" in result.stderr
    assert (finished / "assessment.json").read_bytes() == before


def test_another_seed_gives_other_weights(finished: Path, tmp_path: Path) -> None:
    result = ruggedize(*tiny_demo(tmp_path / "other"), "--seed", "1")
    assert result.returncode == 0, result.stderr
    name = "teacher/model.safetensors"
    assert (tmp_path / "other" / name).read_bytes() != (finished / name).read_bytes()


def test_assess_and_report_work_on_a_finished_run(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.json"
    arguments = ["assess", finished, "--severities", "5", "--num-images", "50"]
    arguments += ["--option", "frost.textures=procedural", "--out", out]
    result = ruggedize(*arguments)
    assert result.returncode == 0, result.stderr
    assert json.loads(out.read_text())["models"].keys() == {"teacher", "student"}
    page = tmp_path / "page.html"
    result = ruggedize("report", finished, "--out", page)
    assert result.returncode == 0, result.stderr
    assert page.stat().st_size > 1000


def test_predict_names_the_class_of_each_image(finished: Path, tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    pictures = tmp_path / "with space"
    pictures.mkdir()
    for number in range(3):
        pixels = (load_digits().images[number] * 15).astype("uint8")
        Image.fromarray(pixels).resize((50, 50)).save(pictures / f"{number}.png")
    result = ruggedize("predict", finished, pictures, "--csv")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "image,class,confidence"
    assert len(lines) == 4
    (pictures / "bad.png").write_bytes(b"damaged")
    result = ruggedize("predict", finished, pictures, "--csv")
    assert result.returncode == 1
    assert result.stdout.splitlines() == lines
    result = ruggedize("predict", finished, pictures, "--csv", "--skip-bad-images")
    assert result.stdout.splitlines() == lines
    assert "bad.png is not a PNG" in result.stderr
    model = finished / "student" / "model.safetensors"
    again = ruggedize("predict", model, pictures / "0.png", "--csv").stdout.splitlines()
    assert again[1] == lines[1]
