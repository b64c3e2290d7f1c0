"""A folder of images: its layout, its order, its bad files and its mistakes."""

import logging
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions, list_images, load_data, load_splits

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def photos(tmp_path):
    """Ten red apples and fifteen blue plums to train on, each a little different; a test."""
    root = tmp_path / "photos"
    for number in range(10):
        save(Image.new("RGB", (20 + number, 30), RED), root / f"train/apple/{number}.png")
    for number in range(15):
        save(Image.new("RGB", (40, 20 + number), BLUE), root / f"train/plum/{number:02}.bmp")
    save(Image.new("RGB", (9, 9), BLUE), root / "test/plum/x.webp")
    save(Image.new("RGB", (9, 9), GREEN), root / "test/grape/deep/er/x.PNG")
    return root


def test_a_folder_becomes_three_parts_with_one_list_of_classes(photos, caplog):
    splits = load_data(photos, image_size=16, validation=5)
    assert [len(part) for part in splits] == [20, 5, 2]
    assert {part.classes for part in splits} == {("apple", "grape", "plum")}
    assert splits.validation.labels.bincount().tolist() == [2, 0, 3]
    assert splits.test.labels.tolist() == [1, 2]
    colours = torch.tensor([RED, GREEN, BLUE], dtype=torch.uint8)
    for part in splits:
        assert part.images.shape[1:] == (3, 16, 16)
        assert torch.equal(part.images[:, :, 8, 8], colours[part.labels])
    assert "no train images of grape" in caplog.text
    assert "the same class as" not in caplog.text


def test_a_class_that_is_spelled_differently_in_another_split_is_named(photos, caplog):
    (photos / "test/plum").rename(photos / "test/plums")
    load_data(photos, image_size=16, validation=5)
    assert "no train images of grape, plums; is plums the same class as plum?" in caplog.text


def test_a_validation_folder_is_taken_as_it_is(photos):
    save(Image.new("RGB", (9, 9), RED), photos / "validation/apple/x.jpg")
    splits = load_data("photos", photos.parent, image_size=16)
    assert [len(part) for part in splits] == [25, 1, 2]


def test_without_a_test_folder_a_fifth_of_train_is_held_out(photos, caplog):
    for path in sorted((photos / "test").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (photos / "test").rmdir()
    (photos / "val").mkdir()
    splits = load_data(photos, image_size=16, validation=5)
    assert [len(part) for part in splits] == [15, 5, 5]
    index = torch.cat([part.index for part in splits])
    assert torch.equal(index.sort().values, torch.arange(25))
    assert splits.test.labels.bincount().tolist() == [2, 3]
    assert "a fifth of train is held out" in caplog.text
    assert "val is empty and is ignored" in caplog.text


def test_the_order_does_not_depend_on_the_file_system(photos):
    names = [path.relative_to(photos).as_posix() for path in list_images(photos)]
    assert names == sorted(names)
    once = load_data(photos, image_size=8).train
    again = load_data(photos, image_size=8).train
    assert torch.equal(once.images, again.images)
    assert torch.equal(once.index, again.index)


def test_bad_files_are_named_and_can_be_left_out(photos, caplog):
    for number in range(4):
        (photos / f"train/plum/{number:02}.bmp").write_bytes(b"damaged")
    (photos / "test/plum/bad.jpg").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        load_data(photos, image_size=8)
    message = str(caught.value)
    assert message.startswith("5 files cannot be decoded")
    assert "00.bmp" in message
    assert "02.bmp is not a PNG" in message
    assert "and 2 more" in message
    assert "03.bmp" not in message
    assert "--skip-bad-images" in message
    options = DataOptions(name=str(photos), image_size=8, validation=5, skip_bad_images=True)
    splits = load_splits(options)
    assert [len(part) for part in splits] == [16, 5, 2]
    _, _, said = caplog.text.partition("5 files cannot be decoded and are skipped:\n")
    bad = [*(f"train/plum/{number:02}.bmp" for number in range(4)), "test/plum/bad.jpg"]
    faults = [
        f"  {photos / name} is not a PNG, JPEG, WebP or BMP image; convert it" for name in bad[:4]
    ]
    faults.append(f"  {photos / bad[4]} is empty (0 bytes); remove or replace it")
    assert sorted(said.splitlines()[:5]) == sorted(faults)
    assert len(splits.train.left_out) == 4
    assert splits.test.left_out == ("test/plum/bad.jpg",)
    assert splits.left_out == tuple(sorted(bad))
    kept = torch.cat([splits.train.index, splits.validation.index]).sort().values
    assert kept.tolist() == [*range(10), *range(14, 25)]  # the others keep their index


def test_a_class_of_bad_files_alone_is_rejected(photos):
    (photos / "test/plum/x.webp").write_bytes(b"damaged")
    options = DataOptions(name=str(photos), image_size=8, skip_bad_images=True)
    with pytest.raises(UserError, match="test: no image of plum can be decoded"):
        load_splits(options)


def test_mistakes_in_the_layout_name_the_cure(photos, tmp_path):
    with pytest.raises(UserError, match=r"data.image_size = 64 in a recipe"):
        load_data(photos)
    with pytest.raises(UserError, match='validation_choice = "stratified"'):
        load_data(photos, image_size=8, validation_choice="last")
    with pytest.raises(UserError, match=r"a fraction .*, got the count 5;\n.*= 0.1"):
        load_data(photos / "train", image_size=8, validation=5)
    with pytest.raises(UserError, match=r"has no class folders;\nput images in apple/CLASS/"):
        load_data(photos / "train" / "apple", image_size=8)
    (tmp_path / "flat/train").mkdir(parents=True)
    with pytest.raises(UserError, match=r"has no class folders;\nput images in train/CLASS/"):
        load_data(tmp_path / "flat", image_size=8)
    (photos / "train/pear").mkdir()
    with pytest.raises(UserError, match=r"train/pear contains no images;\nadd some"):
        load_data(photos, image_size=8)


def test_hidden_and_foreign_files_are_skipped(photos, caplog):
    (photos / "train/apple/.hidden.png").write_bytes(b"")
    (photos / "train/.cache").mkdir()
    (photos / "train/apple/notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert len(load_data(photos, image_size=8, validation=5).train) == 20
    assert "apple: ignored 1 file;" in caplog.text


def test_names_that_are_not_valid_text_are_read_and_shown(photos):
    try:
        save(
            Image.new("RGB", (9, 9), RED), Path(os.fsdecode(bytes(photos) + b"/test/\xff/\xfe.png"))
        )
    except OSError:
        pytest.skip("this file system takes only valid text as names")
    splits = load_data(photos, image_size=8)
    assert splits.test.classes == (r"\xff", "apple", "grape", "plum")
    for name in splits.test.classes:
        name.encode()


def test_a_single_file_is_listed_and_a_missing_one_rejected(photos):
    file = photos / "train/apple/0.png"
    assert list_images(file) == [file]
    with pytest.raises(UserError, match=r"does not exist;\n.* an image file or a folder"):
        list_images(photos / "nothing.png")
