"""The layouts that people's folders have, and what is said of them."""

import logging
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from ruggedize.core.errors import UserError
from ruggedize.data import load_clean_images, load_data
from ruggedize.data.layout import find_images, part_of
from ruggedize.data.listing import visible_files

COLOURS = {"cat": (200, 30, 30), "dog": (30, 30, 200)}


def picture(path: Path, colour: tuple[int, int, int], number: int = 0, size: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (size, size), colour)
    image.putpixel((0, 0), (number % 256, number // 256, 7))
    image.save(path)
    return path


def fill(folder: Path, number: int, first: int = 0) -> None:
    for label, colour in COLOURS.items():
        for n in range(first, first + number):
            picture(folder / label / f"{n:03}.png", colour, n)


def names(files: object) -> list[str]:
    return [file.name for file in files]  # pyright: ignore


def test_a_flat_folder_is_divided_by_the_content_of_each_file(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    splits = load_data(tmp_path, image_size=8)
    sizes = [len(part) for part in splits]
    assert sum(sizes) == 400
    assert 0.12 < sizes[2] / 400 < 0.28
    assert 0.03 < sizes[1] / 400 < 0.15
    before = find_images(tmp_path, 0.1).parts
    fill(tmp_path, 100, first=500)
    after = find_images(tmp_path, 0.1).parts
    for part, classes in before.items():
        for label, files in classes.items():
            assert set(names(files)) <= set(names(after[part][label]))
            assert len(after[part][label]) > len(files)  # the new ones are divided, too


def test_a_files_part_depends_on_its_bytes_alone(tmp_path: Path) -> None:
    parts = {part_of(picture(tmp_path / f"{n}.png", (1, 2, 3), n), 0.5) for n in range(60)}
    assert parts == {"train", "validation", "test"}
    data = (tmp_path / "7.png").read_bytes()
    (tmp_path / "other.png").write_bytes(data)
    assert part_of(tmp_path / "other.png", 0.5) == part_of(tmp_path / "7.png", 0.5)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_validation_folders_have_many_names(name: str, tmp_path: Path) -> None:
    fill(tmp_path / "train", 8)
    fill(tmp_path / name, 3, first=100)
    assert [len(part) for part in load_data(tmp_path, image_size=8)] == [13, 6, 3]


def test_two_folders_for_one_part_are_rejected(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        fill(tmp_path / name, 2)
    with pytest.raises(UserError, match=r"two folders for validation: val and valid;\n"):
        load_data(tmp_path, image_size=8)


@pytest.mark.parametrize("extra", ["photos", "photos/train/train"])
def test_a_level_too_many_is_stepped_over(
    extra: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "photos"
    fill(folder / "photos/train" if extra == "photos" else folder / "train/train", 10)
    assert len(load_data(folder, image_size=8).train) > 5
    assert "contains a single folder; its images are read from" in caplog.text


def test_one_class_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for part, name in (("train", decomposed), ("test", composed)):
        fill(tmp_path / part, 3)
        picture(tmp_path / part / name / "x.png", (9, 9, 9), 99)
        picture(tmp_path / part / name / "y.png", (9, 9, 9), 98)
    splits = load_data(tmp_path, image_size=8, validation=3)
    assert splits.train.classes == (decomposed, "cat", "dog")
    assert splits.test.labels.bincount().tolist() == [2, 3, 3]
    if not (tmp_path / "train" / composed).exists():  # where the file system tells them apart
        picture(tmp_path / "train" / composed / "z.png", (9, 9, 9), 97)
        assert len(load_data(tmp_path, image_size=8, validation=3).train.classes) == 3


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path, caplog: object) -> None:
    fill(tmp_path / "photos/train", 4)
    picture(tmp_path / "elsewhere/deep/a.png", COLOURS["cat"], 77)
    (tmp_path / "photos/train/cat/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/deep/back").symlink_to(tmp_path / "photos/train/cat")
    found = find_images(tmp_path / "photos", 0.1).parts["train"]["cat"]
    assert len(found) == 5
    assert "links to a folder that has already been read" in caplog.text  # pyright: ignore


def test_what_systems_leave_behind_is_neither_class_nor_image(tmp_path: Path) -> None:
    fill(tmp_path / "train", 4)
    for junk in (
        "@eaDir",
        "__MACOSX",
        "#recycle",
        ".thumbnails",
        "System Volume Information",
        "@__thumb",
    ):
        picture(tmp_path / "train" / junk / "x.png", (1, 1, 1))
        picture(tmp_path / "train/cat" / junk / "x.png", (1, 1, 1))
    picture(tmp_path / "train/cat/._000.png", (1, 1, 1))
    (tmp_path / "train/cat/~$000.png").write_bytes(b"x")
    (tmp_path / "train/cat/Thumbs.db").write_bytes(b"x")
    found = find_images(tmp_path, 0.1).parts["train"]
    assert {name: len(files) for name, files in found.items()} == {"cat": 4, "dog": 4}


def test_a_link_to_a_folder_above_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The images of dog would become cats."""
    fill(tmp_path / "photos/train", 4)
    (tmp_path / "photos/train/cat/up").symlink_to(tmp_path / "photos/train")
    (tmp_path / "photos/train/dog/self").symlink_to(tmp_path / "photos/train/dog")
    (tmp_path / "photos/train/loop").symlink_to(tmp_path / "photos")
    found = find_images(tmp_path / "photos", 0.1).parts["train"]
    assert {name: len(files) for name, files in found.items()} == {"cat": 4, "dog": 4}
    assert caplog.text.count("links to a folder that it lies in; it is skipped") == 3


def test_an_empty_class_folder_beside_training_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "train", 4)
    fill(tmp_path / "test", 4, first=20)
    (tmp_path / "test/bird").mkdir()
    assert load_data(tmp_path, image_size=8).test.classes == ("cat", "dog")
    assert "test/bird contains no images" in caplog.text


def test_loose_images_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path / "train", 4)
    picture(tmp_path / "train/loose.png", (1, 1, 1))
    picture(tmp_path / "x.png", (1, 1, 1))
    find_images(tmp_path, 0.1)
    assert caplog.text.count("images next to the folders are not read (1)") == 2


def test_a_plain_folder_of_images_has_test_images_without_labels(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"{number}.png", COLOURS["cat"], number)
    images = load_clean_images(str(tmp_path), image_size=8)
    assert images.labels.tolist() == [-1, -1, -1]
    assert images.images.shape == (3, 3, 8, 8)
    (tmp_path / "1.png").write_bytes(b"x")
    with pytest.raises(UserError, match="1 file cannot be decoded"):
        load_clean_images(str(tmp_path), image_size=8)
    assert load_clean_images(str(tmp_path), image_size=8, skip_bad_images=True).index.tolist() == [
        0,
        2,
    ]
    for number in (0, 2):
        (tmp_path / f"{number}.png").write_bytes(b"x")
    with pytest.raises(UserError, match="none of the images"):
        load_clean_images(str(tmp_path), image_size=8, skip_bad_images=True)
    fill(tmp_path / "classes", 4)
    with pytest.raises(UserError, match="image_size"):
        load_clean_images(str(tmp_path / "classes"))


def test_what_was_found_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path / "train", 10)
    fill(tmp_path / "test", 3, first=50)
    for number in range(200, 290):
        picture(tmp_path / "train/dog" / f"{number}.png", COLOURS["dog"], number)
    with caplog.at_level(logging.INFO):
        load_data(tmp_path, image_size=8)
    assert "train 99 images of 2 classes (from 9 of cat to 90 of dog)" in caplog.text
    assert "test 6 images of 2 classes" in caplog.text
    assert "dog has 90 training images and cat has 9" in caplog.text
    assert "no " not in caplog.text


def test_classes_without_images_in_a_part_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "train", 10)
    picture(tmp_path / "test/cat/x.png", COLOURS["cat"], 50)
    picture(tmp_path / "validation/dog/x.png", COLOURS["dog"], 51)
    load_data(tmp_path, image_size=8)
    assert "no validation images of cat" in caplog.text
    assert "no test images of dog" in caplog.text


def test_pictures_in_training_and_test_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "train", 5)
    fill(tmp_path / "test", 1, first=50)
    load_data(tmp_path, image_size=8)
    assert "also training images" not in caplog.text
    data = (tmp_path / "train/cat/003.png").read_bytes()
    (tmp_path / "test/dog/copy.png").write_bytes(data)
    load_data(tmp_path, image_size=8)
    assert "some test images are also training images (1): test/dog/copy.png" in caplog.text


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    picture(tmp_path / "y.png", (1, 1, 1))
    assert visible_files(tmp_path) == [b"y.png"]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_fit_decides_what_becomes_of_the_sides(fit: str, streaming: bool, tmp_path: Path) -> None:
    wide = Image.new("RGB", (30, 10), (0, 0, 255))
    wide.paste((255, 0, 0), (0, 0, 8, 10))  # red on the left, outside the middle square
    for label in COLOURS:
        for number in range(3):
            path = tmp_path / "train" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            wide.save(path)
    splits = load_data(tmp_path, image_size=30, validation=2, fit=fit, streaming=streaming)  # pyright: ignore
    image = splits.train.images[0].int()
    has_red, has_grey = (image[0, 15] > 200).any(), (image[:, 2, 15] == 128).all()
    assert (bool(has_red), bool(has_grey)) == (fit != "crop", fit == "pad")
    assert splits.train.fit == fit == splits.train.select([0]).fit
    assert torch.equal(splits.train.take([1]).images, splits.train.images[1:2])


def test_streaming_without_worker_processes_gives_the_same_images(tmp_path: Path) -> None:
    fill(tmp_path / "train", 6)
    stored = load_data(tmp_path, image_size=8, validation=2)
    streamed = load_data(tmp_path, image_size=8, validation=2, streaming=True, workers=0)
    positions = [torch.tensor([2, 0]).numpy(), torch.tensor([1]).numpy()]
    for ours, theirs in zip(
        stored.train.batches(positions), streamed.train.batches(positions), strict=True
    ):
        assert torch.equal(ours.images, theirs.images)
