"""Exporting and publishing a model from the command line."""

from pathlib import Path

import onnx
import pytest
import torch
from PIL import Image

from ruggedize.core import files
from ruggedize.models import save_model
from ruggedize.recipe import load_recipe, recipe_toml
from tests.behaviour.runs import ruggedize
from tests.unit.test_card import finished_run
from tests.unit.test_onnx import sharpened

pytestmark = pytest.mark.more


def run_of(recipe: str, folder: Path, *changes: str) -> Path:
    """Make a run folder that holds no more than a recipe and a student."""
    files.write_atomically(
        folder / "recipe.toml", recipe_toml(load_recipe(recipe, changes)).encode()
    )
    save_model(sharpened(32, 32), folder / "student" / "model.safetensors")
    return folder


def test_a_run_is_exported_and_checked_on_its_test_images(tmp_path: Path) -> None:
    run, out = run_of("demo", tmp_path / "run"), tmp_path / "student.onnx"
    result = ruggedize("export", run, "--format", "onnx", "--out", out)
    assert result.returncode == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "checked on 64 test images of digits: the largest difference is" in text
    assert f'onnxruntime.InferenceSession("{out}")' in result.stdout
    assert onnx.load(out).producer_name == "ruggedize"


@pytest.mark.parametrize("where", ["gone", "nowhere"])
def test_generated_images_stand_in_and_are_named(where: str, tmp_path: Path) -> None:
    change = f"data.name={tmp_path / 'photos'}"
    run = run_of("demo", tmp_path / "run", change) if where == "gone" else tmp_path
    model = run / "student" / "model.safetensors"
    save_model(sharpened(32, 32), model)
    result = ruggedize("export", model, "--format", "onnx", "--out", tmp_path / "m.onnx")
    assert result.returncode == 0, result.stderr
    reason = (
        "no test images of the run: there is no data set"
        if where == "gone"
        else "not in a run folder"
    )
    assert "checked on 64 generated images" in " ".join(result.stdout.split())
    assert reason in " ".join(result.stdout.split())


def test_plain_weights_need_no_images(tmp_path: Path) -> None:
    save_model(sharpened(32, 32), tmp_path / "model.safetensors")
    arguments = ("export", tmp_path / "model.safetensors", "--format", "state-dict", "--out")
    result = ruggedize(*arguments, tmp_path / "weights.safetensors")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("weights: ")
    itself = ruggedize(*arguments, tmp_path / "model.safetensors")
    assert itself.returncode == 2
    assert "is the model itself" in itself.stderr
    wrong = ruggedize(*arguments, tmp_path / "weights.onnx")
    assert wrong.returncode == 2
    assert "name it weights.safetensors" in wrong.stderr
    assert not (tmp_path / "weights.onnx").exists()


def test_a_card_is_written_listed_and_used(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    result = ruggedize("card", run, "--out", tmp_path / "card", "--license", "mit")
    assert result.returncode == 0, result.stderr
    assert "not stated: --data-license" in result.stdout
    listed = ruggedize("push", tmp_path / "card", "ann/bright", "--dry-run", "--private")
    assert listed.returncode == 0, listed.stderr
    assert "ann/bright (private if it is new)" in " ".join(listed.stdout.split())
    size = (tmp_path / "card" / "model.safetensors").stat().st_size
    assert f"model.safetensors: {size:,} bytes" in listed.stdout
    pixels = torch.full((20, 20, 3), 200, dtype=torch.uint8).numpy()
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    predicted = ruggedize("predict", tmp_path / "card", tmp_path / "photo.png", "--csv")
    assert predicted.returncode == 0, predicted.stderr
    assert len(predicted.stdout.splitlines()) == 2
