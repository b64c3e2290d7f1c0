"""A teacher asked once about every flip and crop says what it would say in every step."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from pydantic import ValidationError
from torch import Tensor

from ruggedize.core.errors import UserError
from ruggedize.data import Splits
from ruggedize.models import create_model, save_model
from ruggedize.recipe import load_recipe
from ruggedize.train import StudentOptions, train_student
from ruggedize.train.objectives import targets
from ruggedize.views import ViewMaker, ViewOptions
from tests.tiny_stages import CLASSES, three_colours

pytestmark = pytest.mark.more

MODEL = {"name": "resnet9", "width": 8}
SHARED = ViewOptions.model_validate(
    {"pad": 1, "geometry": "shared", "noise": [{"kind": "additive_noise"}]}
)
INDEPENDENT = SHARED.model_copy(update={"geometry": "independent"})
TRAINING = {"model": MODEL, "epochs": 2, "batch_size": 16, "precision": "fp32"}


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    options = StudentOptions.model_validate(TRAINING)
    save_model(create_model(options.model, CLASSES, 16, 16, seed=5), path)
    return path


def trained(
    teacher: Path, out: Path, views: ViewOptions, cached: bool, epochs: int = 2
) -> dict[str, Tensor]:
    data = Splits(three_colours(64, 0), three_colours(20, 1), three_colours(20, 2))
    objective = {"kind": "consistency", "temperature": 1.0, "cached_targets": cached}
    options = StudentOptions.model_validate(TRAINING | {"objective": objective, "epochs": epochs})
    alone = Accelerator(cpu=True)
    return train_student(data, views, options, teacher, out, accelerator=alone).state_dict()


@pytest.mark.parametrize(
    "options",
    [
        ViewOptions(pad=2),
        ViewOptions(pad=1, flip=False),
        ViewOptions(crop=14),
        ViewOptions(pad=2, crop=12),
        ViewOptions(),
    ],
)
def test_every_drawn_view_is_the_one_of_its_number(options: ViewOptions) -> None:
    data = three_colours(64, 0)
    maker = ViewMaker(options, image_size=16, seed=3)
    for epoch in (0, 1):
        drawn = maker.clean(data.images, data.index, epoch)
        numbers = maker.clean_numbers(data.index, epoch)
        assert 0 <= int(numbers.min()) <= int(numbers.max()) < maker.num_clean_views
        for number in range(maker.num_clean_views):
            own = numbers == number
            assert torch.equal(maker.numbered_clean(data.images, number)[own], drawn[own])


def test_a_crop_padded_by_two_has_fifty_views_that_all_differ() -> None:
    data = three_colours(3, 0)
    maker = ViewMaker(ViewOptions(pad=2), image_size=16, seed=3)
    views = {maker.numbered_clean(data.images, n).numpy().tobytes() for n in range(50)}
    assert maker.num_clean_views == len(views) == 50


@pytest.mark.parametrize("views", [SHARED, INDEPENDENT])
def test_the_student_learns_what_it_learns_without_the_table(
    views: ViewOptions, teacher_file: Path, tmp_path: Path
) -> None:
    asked = trained(teacher_file, tmp_path / "asked", views, cached=False)
    cached = trained(teacher_file, tmp_path / "cached", views, cached=True)
    for name, weight in asked.items():
        torch.testing.assert_close(cached[name], weight, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.more
def test_without_room_the_teacher_is_asked_in_every_step(
    teacher_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = trained(teacher_file, tmp_path / "asked", SHARED, cached=False)
    assert "computed in every step" not in caplog.text
    monkeypatch.setattr(targets, "MAX_TABLE_BYTES", 0)
    crowded = trained(teacher_file, tmp_path / "crowded", SHARED, cached=True)
    assert "computed in every step" in caplog.text
    assert all(torch.equal(crowded[name], weight) for name, weight in asked.items())


def test_a_resumed_training_ends_with_the_same_bits(teacher_file: Path, tmp_path: Path) -> None:
    whole = trained(teacher_file, tmp_path / "whole", SHARED, cached=True)
    trained(teacher_file, tmp_path / "resumed", SHARED, cached=True)
    (tmp_path / "resumed" / "model.safetensors").unlink()
    newest = max((tmp_path / "resumed" / "state").glob("*.safetensors"))
    newest.unlink()  # what is left is the state of the first epoch
    resumed = trained(teacher_file, tmp_path / "resumed", SHARED, cached=True)
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())


def test_views_that_are_resampled_are_rejected(teacher_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"remove views\.resize or cached_targets"):
        trained(teacher_file, tmp_path / "out", ViewOptions(resize=20, crop=16), cached=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"clean_view": "test"}, {"consistency_weight": 0.0}])
def test_options_that_leave_nothing_to_cache_are_rejected(changes: dict[str, object]) -> None:
    objective = {"kind": "consistency", "cached_targets": True}
    with pytest.raises(ValidationError, match="cached_targets has no effect"):
        StudentOptions.model_validate(TRAINING | {"objective": objective | changes})


def test_a_recipe_whose_views_are_resampled_is_rejected_before_its_teacher_is_trained() -> None:
    with pytest.raises(UserError, match=r"student\.objective\.cached_targets requires"):
        load_recipe("keras-example", ("student.objective.cached_targets=true",))
