"""Trainings on random-resized crops: streamed and in memory they end with the same weights."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from ruggedize.data import DataOptions, Originals, Splits, load_splits
from ruggedize.models import load_model
from ruggedize.train import (
    StudentOptions,
    TrainingOptions,
    train_stage,
    train_student,
    train_teacher,
)
from ruggedize.train.batches import requested_views
from ruggedize.views import RandAugmentOptions, Request, ViewOptions, from_files, pairs
from tests.photographs import save_photographs
from tests.tiny_stages import tiny_stage, without_labels

pytestmark = pytest.mark.more

VIEWS = ViewOptions(
    crop_mode="random-resized",
    crop=16,
    crop_pct=0.8,
    interpolation="bicubic",
    noise=(RandAugmentOptions(),),
)
TINY = {
    "model": {"name": "resnet9", "width": 8},
    "epochs": 2,
    "batch_size": 6,
    "precision": "fp32",
    "averaging": {"kind": "ema", "decay": 0.5},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    return save_photographs(root, [(40, 30), (30, 50)], per_class=8)


def loaded(photos: Path, streaming: bool) -> Splits:
    options = {"name": str(photos), "image_size": 20, "validation": 4, "streaming": streaming}
    return load_splits(DataOptions.model_validate(options | ({"workers": 1} if streaming else {})))


def trained(photos: Path, out: Path, streaming: bool, objective: dict[str, object]) -> bytes:
    """Train a teacher and a student on crops; return both model files."""
    data = loaded(photos, streaming)
    train_teacher(data, VIEWS, TrainingOptions.model_validate(TINY), out / "teacher")
    teacher, student = (out / name / "model.safetensors" for name in ("teacher", "student"))
    options = StudentOptions.model_validate({**TINY, "objective": objective})
    train_student(data, VIEWS, options, teacher, out / "student")
    return teacher.read_bytes() + student.read_bytes()


@pytest.mark.parametrize(
    "objective", [{"kind": "consistency"}, {"kind": "consistency", "clean_view": "test"}]
)
def test_a_streamed_training_ends_with_the_bytes_of_one_from_memory(
    photos: Path, tmp_path: Path, objective: dict[str, object]
) -> None:
    ours = trained(photos, tmp_path / "memory", False, objective)
    assert trained(photos, tmp_path / "streamed", True, objective) == ours


def test_the_model_keeps_the_test_view(photos: Path, tmp_path: Path) -> None:
    options = TrainingOptions.model_validate({**TINY, "epochs": 1})
    data = loaded(photos, streaming=False)
    train_teacher(data, VIEWS, options, tmp_path)
    model = load_model(tmp_path)
    assert (model.image_size, model.input_size) == (20, 16)
    assert (model.crop_pct, model.test_filter) == (0.8, "bicubic")
    images = data.test.images[:]
    assert model.test_view(images).equal(images[:, :, 2:18, 2:18])


def test_a_batch_of_one_image_shows_which_views_an_objective_makes(
    photos: Path, tmp_path: Path
) -> None:
    stage = tiny_stage(tmp_path, objective={"kind": "jsd"})
    assert requested_views(stage, 0, [0, 1]) == {}, "these views are made of stored images"


@pytest.mark.parametrize("steps", [None, 3])
def test_every_view_is_made_ahead(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int | None
) -> None:
    data = loaded(photos, streaming=False)
    data = replace(data, unlabelled=without_labels(data.train))
    missing = []

    def counted(originals: Originals, index: Tensor, requests: list[Request]) -> list[Tensor]:
        if originals.asked is None:  # not the batch of one image that shows what is requested
            missing.extend(request for request in requests if request.key not in originals.made)
        return requested_views(originals, index, requests)

    requested_views = from_files.requested_views
    monkeypatch.setattr(pairs, "requested_views", counted)
    objective = {"kind": "fixmatch", "unlabelled_ratio": 2}
    options = TrainingOptions.model_validate(
        {**TINY, "objective": objective, "steps_per_epoch": steps}
    )
    train_stage("student", data, VIEWS, options, tmp_path)
    assert not missing
