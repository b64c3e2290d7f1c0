"""Changed data is noticed, and what changed is named."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ruggedize.data import DataDigest, DataOptions, data_digest, load_splits
from ruggedize.data.digest import array_digest


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two classes, six images for training and four for the test in each."""
    rng = np.random.default_rng(0)
    for part, number in (("train", 6), ("test", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for place in range(number):
                pixels = rng.integers(0, 256, (12 + place, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}{place}.png")
    return tmp_path / "photos"


def options(place: Path) -> DataOptions:
    return DataOptions(name=str(place), image_size=8, validation=2)


def digest(place: Path) -> DataDigest:
    found = data_digest(options(place))
    assert found is not None
    return found


def test_the_digest_of_loaded_data_is_made_without_decoding_it(photos: Path) -> None:
    assert load_splits(options(photos)).digest == digest(photos)


def test_a_folder_that_was_moved_is_the_same_data(photos: Path, tmp_path: Path) -> None:
    before = digest(photos)
    shutil.move(photos, tmp_path / "elsewhere")
    after = digest(tmp_path / "elsewhere")
    assert before.changes(after) == []
    assert before.place != after.place


def exchanged(photos: Path) -> None:
    cat, dog = photos / "train/cat/cat0.png", photos / "train/dog/dog1.png"
    dog.rename(photos / "train/cat/dog1.png")
    cat.rename(photos / "train/dog/cat0.png")


def removed(photos: Path) -> None:
    (photos / "test/dog/dog3.png").unlink()


def moved_to_the_other_class(photos: Path) -> None:
    (photos / "train/dog/dog1.png").rename(photos / "train/cat/dog1.png")


def replaced(photos: Path) -> None:
    with (photos / "train/cat/cat0.png").open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (exchanged, ["train: file names, file sizes or pixels have changed"]),
        (removed, ["test: 8 images before, 7 now"]),
        (replaced, ["train: file names, file sizes or pixels have changed"]),
        (
            moved_to_the_other_class,
            ["train: labels have changed", "train: file names, file sizes or pixels have changed"],
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_changed_in_a_folder_is_named(photos: Path, change, named: list[str]) -> None:
    before = digest(photos)
    change(photos)
    assert before.changes(digest(photos)) == named


def test_a_part_that_appears_is_named(photos: Path) -> None:
    before = digest(photos)
    shutil.copytree(photos / "test", photos / "validation")
    assert before.changes(digest(photos)) == ["validation was added"]
    assert digest(photos).changes(before) == ["validation is missing"]


def test_labels_and_pixels_in_memory_are_told_apart() -> None:
    labels, pixels = np.array([0, 1]), np.zeros((2, 3, 4, 4), np.uint8)
    before = array_digest(labels, pixels)
    assert array_digest(labels.copy(), pixels.copy()) == before
    assert array_digest(labels[::-1], pixels).content == before.content
    assert array_digest(labels[::-1], pixels).labels != before.labels
    assert array_digest(labels, pixels + 1).content != before.content


def test_data_that_is_gone_has_no_digest(photos: Path) -> None:
    shutil.rmtree(photos)
    assert data_digest(options(photos)) is None


def test_a_link_that_leads_nowhere_has_a_digest(photos: Path) -> None:
    before = digest(photos)
    os.symlink(photos / "nothing.png", photos / "train/cat/link.png")
    assert before.changes(digest(photos)) == ["train: 12 images before, 13 now"]
