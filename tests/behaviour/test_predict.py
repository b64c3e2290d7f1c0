"""`predict` classifies what can be read, reports the rest, and tells by its exit status."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ruggedize.models import save_model
from tests.behaviour.runs import ruggedize
from tests.tiny_stages import tiny_stage

pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model and pictures, of which some are bad."""
    place = tmp_path_factory.mktemp("predict")
    save_model(tiny_stage(place).model, place / "mine" / "model.safetensors")
    (place / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 30, 40, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(place / "pictures" / f"{number}.png")
    (place / "pictures/empty.jpg").touch()
    (place / "pictures/tiff.jpg").write_bytes(b"II*\0" + bytes(64))
    (place / "pictures/link.png").symlink_to("nowhere.png")
    return place


def classes_by_name(text: str) -> dict[str, str]:
    return {Path(row["image"]).name: row["class"] for row in csv.DictReader(io.StringIO(text))}


def test_good_files_get_results_and_bad_ones_reasons(place: Path) -> None:
    found = ruggedize("predict", place / "mine", place / "pictures", place / "gone.png", "--csv")
    assert found.returncode == 1
    assert classes_by_name(found.stdout).keys() == {"0.png", "1.png", "2.png"}
    reasons = ("empty.jpg is empty (0 bytes)", "tiff.jpg is a TIFF", "link.png is a broken link")
    for reason in (*reasons, "gone.png does not exist"):
        assert found.stderr.count(reason) == 1
    assert "4 images cannot be classified" in found.stderr
    assert "0.png" not in found.stderr
    skipped = ruggedize("predict", place / "mine", place / "pictures", "--csv", "--skip-bad-images")
    assert skipped.returncode == 0
    assert skipped.stdout == found.stdout
    assert "empty.jpg is empty" in skipped.stderr


def test_only_good_files_exit_with_0_and_a_table(place: Path) -> None:
    found = ruggedize("predict", place / "mine", place / "pictures/0.png")
    assert (found.returncode, found.stderr) == (0, "")
    assert "0.png" in found.stdout
    none = ruggedize("predict", place / "mine", place / "gone.png")
    assert none.returncode == 2
    assert none.stderr.startswith("ruggedize: ")
    assert "gone.png does not exist" in none.stderr


def test_the_limit_on_megapixels_can_be_raised(place: Path, tmp_path: Path) -> None:
    Image.new("RGB", (1500, 1000)).save(tmp_path / "large.png")
    given = ("predict", place / "mine", tmp_path / "large.png", "--csv")
    refused = ruggedize(*given, "--max-megapixels", "1")
    assert refused.returncode == 1
    assert "at most 1 megapixels, got 1.5; use --max-megapixels 2" in refused.stderr
    assert ruggedize(*given, "--max-megapixels", "2").returncode == 0


def test_a_run_folder_means_its_student(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "mine", tmp_path / "run" / "student")
    found = ruggedize("predict", tmp_path / "run", place / "pictures/0.png", "--csv")
    assert found.returncode == 0, found.stderr
    assert (
        found.stdout
        == ruggedize(
            "predict", place / "mine/model.safetensors", place / "pictures/0.png", "--csv"
        ).stdout
    )
