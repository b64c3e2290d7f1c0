"""A run whose data has changed since is not resumed in silence, and not called finished."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ruggedize.assess import AssessOptions, load_assessment
from ruggedize.assess_models import assess_files
from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions, load_splits
from ruggedize.pipeline import run
from ruggedize.recipe import Recipe, load_recipe
from ruggedize.train import train_teacher
from tests.behaviour.runs import TINY

pytestmark = pytest.mark.more


def make_photos(folder: Path) -> Path:
    """Write pictures of two classes: reddish and greenish noise."""
    rng = np.random.default_rng(0)
    for part, number in (("train", 20), ("test", 8)):
        for channel, name in enumerate(("red", "green")):
            (folder / part / name).mkdir(parents=True)
            for place in range(number):
                pixels = rng.integers(0, 120, (20 + place, 20, 3), dtype=np.uint8)
                pixels[:, :, channel] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{place}.png")
    return folder


def recipe_for(photos: Path) -> Recipe:
    data = (f"data.name={photos}", "data.image_size=16", "data.validation=8")
    return load_recipe("demo", (*TINY, *data, "teacher.batch_size=16", "student.batch_size=16"))


def exchange(photos: Path) -> None:
    """Exchange a file of one class with a file of the other."""
    red, green = photos / "train/red/3.png", photos / "train/green/7.png"
    kept = red.read_bytes()
    red.write_bytes(green.read_bytes())
    green.write_bytes(kept)


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, Path]:
    photos = make_photos(tmp_path / "photos")
    run(recipe_for(photos), tmp_path / "run")
    return photos, tmp_path / "run"


@pytest.mark.more
def test_a_finished_run_names_what_has_changed(finished: tuple[Path, Path]) -> None:
    photos, folder = finished
    run(recipe_for(photos), folder)  # nothing has changed yet
    exchange(photos)
    with pytest.raises(UserError, match=rf"has changed \({photos}\): train: file names"):
        run(recipe_for(photos), folder)
    exchange(photos)
    (photos / "test/red/0.png").unlink()
    with pytest.raises(UserError, match=r"test: 16 images before, 15 now"):
        run(recipe_for(photos), folder)


def test_a_run_is_not_assessed_on_changed_data(finished: tuple[Path, Path], tmp_path: Path) -> None:
    photos, folder = finished
    options = AssessOptions(corruptions=("contrast",), severities=(5,))
    assess_files([folder], tmp_path / "same.json", None, options)
    same = load_assessment(tmp_path / "same.json").facts
    assert same.held_out == load_assessment(folder / "assessment.json").facts.held_out
    assert set(same.held_out) == {"teacher", "student"}
    others = DataOptions(name=str(make_photos(tmp_path / "others")))
    (tmp_path / "others/test/red/0.png").unlink()
    assess_files([folder], tmp_path / "others.json", others, options)
    assert load_assessment(tmp_path / "others.json").facts.held_out == ()
    shutil.rmtree(others.name + "/train")
    for place in (folder, folder / "student/model.safetensors"):
        assess_files([place], tmp_path / "new.json", others, options)
        assert load_assessment(tmp_path / "new.json").images.num_images == 15
    (photos / "train/red/0.png").unlink()
    with pytest.raises(UserError, match=r"has changed"):
        assess_files([folder], tmp_path / "other.json", None, options)
    (photos / "train").rename(photos / "hidden")
    with pytest.raises(UserError, match=r"has no folder train"):
        assess_files([folder], tmp_path / "other.json", None, options)


def test_a_finished_run_stays_finished_without_its_data(finished: tuple[Path, Path]) -> None:
    photos, folder = finished
    shutil.rmtree(photos)
    assert run(recipe_for(photos), folder).exists()


@pytest.mark.more
def test_a_training_is_not_resumed_on_changed_data(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos")
    recipe = recipe_for(photos)

    def train() -> None:
        train_teacher(load_splits(recipe.data), recipe.views, recipe.teacher, tmp_path / "out")

    train()
    (tmp_path / "out" / "model.safetensors").unlink()  # its state is there to resume from
    train()
    exchange(photos)
    with pytest.raises(UserError, match=r"the data of the teacher has changed"):
        train()
    (tmp_path / "out" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"the data of the teacher has changed"):
        train()
    exchange(photos)
    (photos / "test/red/0.png").unlink()  # no training touches it
    train()
