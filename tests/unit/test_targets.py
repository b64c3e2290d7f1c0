"""Precomputed teacher logits equal those computed in every step."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from ruggedize.core.errors import UserError
from ruggedize.core.progress import no_progress
from ruggedize.data import Splits
from ruggedize.models import create_model, load_model, save_model
from ruggedize.recipe import load_recipe
from ruggedize.train import StudentOptions, train_student
from ruggedize.train.objectives import targets
from ruggedize.train.objectives.targets import precomputed_logits
from ruggedize.views import ViewOptions
from tests.tiny_stages import CLASSES, three_colours

pytestmark = pytest.mark.more

OPTIONS = StudentOptions.model_validate(
    {
        "model": {"name": "resnet9", "width": 8},
        "epochs": 2,
        "batch_size": 16,
        "precision": "fp32",
        "objective": {"clean_view": "test"},
    }
)


@pytest.fixture
def teacher_file(tmp_path: Path) -> Path:
    save_model(
        create_model(OPTIONS.model, CLASSES, 16, 16, seed=5), tmp_path / "teacher.safetensors"
    )
    return tmp_path / "teacher.safetensors"


def test_logits_are_those_of_the_images_with_these_indices(teacher_file: Path) -> None:
    teacher, everything = load_model(teacher_file), three_colours(40, 0)
    train = everything.select([31, 2, 17])  # indices with gaps, in any order
    views = [teacher.test_view, lambda images: images.flip(3)]
    table = precomputed_logits(teacher, train, views, "fp32", Accelerator(cpu=True), no_progress)
    assert table is not None
    assert table.logits.shape == (3, 2, len(CLASSES))  # no row for the gaps
    with torch.no_grad():
        expected = teacher(teacher.test_view(train.images))
        flipped = teacher(train.images.flip(3))
    torch.testing.assert_close(table.of(train.index, 0), expected)
    torch.testing.assert_close(table.of(train.index, 1), flipped)
    assert not torch.allclose(table.logits[0], table.logits[1])  # must differ
    assert not torch.allclose(expected, flipped)


def trained(teacher_file: Path, out: Path, **changes: object) -> dict[str, torch.Tensor]:
    data = Splits(three_colours(64, 0), three_colours(20, 1), three_colours(20, 2))
    options = StudentOptions.model_validate(OPTIONS.model_dump() | changes)
    views = ViewOptions(resize=20, crop=16)  # so that drawn and test views differ
    alone = Accelerator(cpu=True)
    return train_student(data, views, options, teacher_file, out, accelerator=alone).state_dict()


def test_the_student_is_the_same_if_the_logits_do_not_fit_in_memory(
    teacher_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    precomputed = trained(teacher_file, tmp_path / "known")
    assert "computed in every step" not in caplog.text
    monkeypatch.setattr(targets, "MAX_TABLE_BYTES", 0)
    recomputed = trained(teacher_file, tmp_path / "recomputed")
    assert "computed in every step" in caplog.text
    for name, weight in precomputed.items():
        torch.testing.assert_close(recomputed[name], weight, rtol=1e-4, atol=1e-5, msg=name)
    drawn = trained(teacher_file, tmp_path / "drawn", objective={"clean_view": "drawn"})
    assert not torch.allclose(drawn["network.head.weight"], precomputed["network.head.weight"])


def test_a_geometry_cannot_be_shared_with_the_test_view() -> None:
    with pytest.raises(UserError, match=r'set views\.geometry = "independent"'):
        load_recipe("cifar10-cpu", ("student.objective.clean_view=test",))
