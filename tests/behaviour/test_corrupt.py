"""`ruggedize corrupt` and `assess --suite`: what is written is what is read."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.behaviour.runs import ruggedize

SUITE = ("--corruptions", "shot_noise,brightness", "--seed", "3")
ASSESS = ("--data", "digits", "--num-images", "100", "--out")

pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a small net for an epoch."""
    out = tmp_path_factory.mktemp("model")
    changes = ["--set", "teacher.model.width=8", "--set", "teacher.epochs=1"]
    result = ruggedize("train-teacher", "demo", "--out", out, *changes)
    assert result.returncode == 0, result.stderr
    return out / "model.safetensors"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suites") / "DIGITS-C"
    result = ruggedize("corrupt", "--data", "digits", "--out", folder, *SUITE)
    assert result.returncode == 0, result.stderr
    assert "corrupt: 5,000 of 5,000" in result.stderr
    return folder


def assessed(model: Path, out: Path, *options: str | Path) -> dict:
    result = ruggedize("assess", model, *ASSESS, out, *options)
    assert result.returncode == 0, result.stderr
    return json.loads(out.read_text())


def test_a_written_suite_gives_the_figures_of_the_generated_one(
    model: Path, written: Path, tmp_path: Path
) -> None:
    generated = assessed(model, tmp_path / "a.json", *SUITE)
    stored = assessed(model, tmp_path / "b.json", "--suite", written)
    assert stored["models"] == generated["models"]
    assert stored["unpaired"] is None
    assert stored["suite_facts"]["seed"] == "3"
    other = assessed(model, tmp_path / "c.json", *SUITE[:-1], "4")
    assert other["models"] != generated["models"]


def test_a_suite_in_another_order_is_assessed_without_pairs(
    model: Path, written: Path, tmp_path: Path
) -> None:
    turned = tmp_path / "TURNED-C"
    turned.mkdir()
    for path in written.glob("*.npy"):
        parts = np.split(np.load(path), 5)
        np.save(turned / path.name, np.concatenate([part[::-1] for part in parts]))
    found = assessed(model, tmp_path / "a.json", "--suite", turned, *SUITE[:2])
    assert "labels differ from those of the test images" in found["unpaired"]["reason"]
    assert {cell["agreeing"] for cell in found["models"][model.parent.name]["cells"]} == {None}


def test_the_same_command_again_writes_nothing(written: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.glob("[!.]*")}
    result = ruggedize("corrupt", "--data", "digits", "--out", written, *SUITE)
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in written.glob("[!.]*")} == before


def test_other_settings_in_the_same_folder_are_rejected(written: Path) -> None:
    arguments = ("corrupt", "--data", "digits", "--out", written, "--preset", "imagenet")
    result = ruggedize(*arguments)
    assert result.returncode == 2
    assert "differ in preset, seed" in result.stderr
    assert len(result.stderr.splitlines()) <= 3


def test_a_folder_of_photos_gets_a_suite_and_a_sheet(tmp_path: Path) -> None:
    for part, number in (("train", 6), ("test", 2)):
        for name, colour in (("plum", "navy"), ("apple", "red")):
            for place in range(number):
                path = tmp_path / "photos" / part / name / f"{place}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40 + place, 50), colour).save(path)
    out, sheet = tmp_path / "PHOTOS-C", tmp_path / "sheet.png"
    arguments = [
        "corrupt",
        "--data",
        tmp_path / "photos",
        "--out",
        out,
        "--corruptions",
        "contrast",
    ]
    result = ruggedize(*arguments, "--image-size", "48", "--sheet", sheet, "--image", "3")
    assert result.returncode == 0, result.stderr
    assert np.load(out / "contrast.npy").shape == (20, 48, 48, 3)
    assert np.load(out / "labels.npy").tolist() == [0, 0, 1, 1] * 5
    assert Image.open(sheet).width > 6 * 48
    result = ruggedize(*arguments)
    assert result.returncode == 2
    assert "--image-size 64" in result.stderr
