"""Stages on few labels: the shipped recipes at a tiny size, and images streamed from files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ruggedize.data import DataOptions, Splits, load_splits
from ruggedize.recipe import load_recipe
from ruggedize.train import FixMatchOptions, TrainingOptions, train_stage
from ruggedize.views import ViewOptions

pytestmark = pytest.mark.more

TINY = (
    "data.name=digits",
    "data.validation=100",
    "data.num_labels=40",
    *(
        f"{stage}.model={{name='wide_resnet', depth=10, width=1}}"
        for stage in ("teacher", "student")
    ),
    *(f"{stage}.epochs=1" for stage in ("teacher", "student")),
    *(f"{stage}.steps_per_epoch=3" for stage in ("teacher", "student")),
    *(f"{stage}.batch_size=8" for stage in ("teacher", "student")),
    *(f"{stage}.precision=fp32" for stage in ("teacher", "student")),
)


@pytest.mark.parametrize("name", ["fixmatch-cifar10", "adamatch-cifar10"])
def test_the_recipe_trains_at_a_tiny_size(name: str, tmp_path: Path) -> None:
    whole = load_recipe(name)
    assert (whole.data.name, whole.data.num_labels) == ("cifar10", 250)
    recipe = load_recipe(name, TINY)
    assert isinstance(recipe.student.objective, FixMatchOptions)
    assert recipe.student.objective.uses_statistics == (name == "adamatch-cifar10")
    data = load_splits(recipe.data)
    for stage, options in recipe.all_stages.items():
        train_stage(stage, data, recipe.views, options, tmp_path / stage)
        assert (tmp_path / stage / "model.safetensors").exists()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "photos"
    rng = np.random.default_rng(0)
    for part, number in (
        ("train/a", 20),
        ("train/b", 20),
        ("validation/a", 4),
        ("validation/b", 4),
    ):
        (folder / part).mkdir(parents=True)
        for place in range(number):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / f"{place}.png")
    return folder


def splits(photos: Path, **more: object) -> Splits:
    given = {"name": str(photos), "image_size": 16, "num_labels": 10}
    return load_splits(DataOptions.model_validate(given | more))


@pytest.mark.parametrize("kind", ["fixmatch", "jsd"])
def test_streamed_images_train_the_same_weights(photos: Path, kind: str, tmp_path: Path) -> None:
    objective = {"kind": kind, "unlabelled_ratio": 2}
    options = TrainingOptions.model_validate(
        {
            "model": {"name": "resnet9", "width": 8},
            "objective": objective,
            "epochs": 2,
            "steps_per_epoch": 3,
            "batch_size": 8,
            "precision": "fp32",
        }
    )
    ways = {
        "memory": {"streaming": False},
        "threads": {"streaming": True, "workers": 0},
        "workers": {"streaming": True, "workers": 1},
        "other": {"streaming": False, "label_seed": 1},
    }
    found = {}
    for name, way in ways.items():
        out = tmp_path / name
        model = train_stage("student", splits(photos, **way), ViewOptions(pad=2), options, out)
        found[name] = torch.cat([weight.flatten() for weight in model.parameters()])
    assert torch.equal(found["memory"], found["threads"])
    assert torch.equal(found["memory"], found["workers"])
    assert not torch.equal(found["memory"], found["other"])
