"""Which images of a folder a model of other origin is assessed on."""

import logging
import shutil
from pathlib import Path

import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions, load_test_images
from tests.foreign import colour_folder


def loaded(folder: Path, **options):
    return load_test_images(DataOptions(name=str(folder), image_size=16, **options))


def test_a_test_folder_goes_before_all_others_and_train_is_not_read(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "data", ("train", "val", "test"))
    (folder / "train" / "red" / "broken.png").write_bytes(b"nothing")
    shutil.rmtree(folder / "test" / "green")
    found = loaded(folder)
    assert found.images.classes == ("blue", "green", "red")  # as in train
    assert len(found.images) == 8
    assert sorted(found.digest.parts) == ["test"]


def test_a_class_may_have_no_training_images(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "data", ("train", "test"))
    for image in (folder / "train" / "red").iterdir():
        image.unlink()
    assert loaded(folder).images.classes == ("blue", "green", "red")


def test_imagenets_layout_is_read_from_val(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = colour_folder(tmp_path / "imagenet", ("train", "val"))
    for place in ("train", "val"):
        for name, synset in {"blue": "n01", "green": "n02", "red": "n03"}.items():
            (folder / place / name).rename(folder / place / synset)
    with caplog.at_level(logging.WARNING):
        found = loaded(folder)
    assert found.images.classes == ("n01", "n02", "n03")
    assert len(found.images) == 12
    assert "has no folder test: the images of val are assessed" in caplog.text
    direct = loaded(folder / "val")
    assert torch.equal(direct.images.images, found.images.images)


def test_of_class_folders_alone_all_images_are_read(tmp_path: Path) -> None:
    found = loaded(colour_folder(tmp_path / "photos", ("",)))
    assert len(found.images) == 12
    assert found.images.labels.bincount().tolist() == [4, 4, 4]


def test_where_there_is_train_alone_a_runs_own_test_images_are_read(tmp_path: Path) -> None:
    found = loaded(colour_folder(tmp_path / "photos", ("train",), n=60))
    assert len(found.images) == 12


def test_photographs_are_stored_at_224_pixels_unless_told_otherwise(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", ("",))
    assert load_test_images(DataOptions(name=str(folder))).images.image_size == 224


def test_images_may_stay_in_their_files(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", ("",))
    streamed = loaded(folder, streaming=True, workers=1).images
    assert streamed.is_streamed
    assert torch.equal(streamed.images[:], loaded(folder).images.images[:])


def test_a_bad_file_is_named_or_skipped(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", ("",))
    (folder / "red" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"1 file cannot be decoded:\n.*broken\.png"):
        loaded(folder)
    assert loaded(folder, skip_bad_images=True).left_out == ("red/broken.png",)


def test_several_bad_files_are_named_on_one_line(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", ("",))
    for number in range(4):
        (folder / "red" / f"broken{number}.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        loaded(folder)
    first, named, cure = str(caught.value).split("\n")
    assert first == "4 files cannot be decoded:"
    assert named.count("is empty (0 bytes)") == 3
    assert named.endswith("; and 1 more")
    assert cure.startswith("remove or replace them")


def test_one_class_and_no_folder_are_rejected(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", ("",))
    for name in ("blue", "green"):
        shutil.rmtree(folder / name)
    with pytest.raises(UserError, match="at least two classes, got only red"):
        loaded(folder)
    with pytest.raises(UserError, match="there is no data set or folder"):
        loaded(tmp_path / "none")
