"""Images without labels: a folder of their own, and the rest of a split with few labels."""

import csv
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions, Splits, data_digest, load_data, load_splits
from ruggedize.recipe import differing_keys, load_recipe

NUM_EACH = 12  # training images of each class


def pictures(folder: Path, number: int, seed: int, size: int = 10) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for place in range(number):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place:02}.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, name in enumerate(("cat", "dog")):
        pictures(tmp_path / "photos/train" / name, NUM_EACH, seed)
        pictures(tmp_path / "photos/validation" / name, 3, 10 + seed)
        pictures(tmp_path / "photos/test" / name, 3, 20 + seed)
    pictures(tmp_path / "photos/unlabelled/from/anywhere", 5, 30)
    pictures(tmp_path / "other", 7, 40)
    return tmp_path / "photos"


def loaded(place: Path, **more: object) -> Splits:
    return load_splits(DataOptions.model_validate({"name": str(place), "image_size": 8} | more))


def table_of(photos: Path) -> Path:
    """Write a table of the same images; the unlabelled ones have no class."""
    place = photos.parent / "photos.csv"
    with place.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for image in sorted(photos.rglob("*.png")):
            part = image.relative_to(photos).parts[0]
            rows.writerow([image, "" if part == "unlabelled" else image.parent.name, part])
    return place


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("make", [lambda photos: photos, table_of], ids=["folder", "table"])
def test_unlabelled_images_are_a_split_of_their_own(
    photos: Path, make: Callable[[Path], Path], streaming: bool
) -> None:
    data = loaded(make(photos), streaming=streaming)
    assert data.unlabelled is not None
    assert data.unlabelled.is_streamed == streaming
    assert data.unlabelled.labels.tolist() == [-1] * 5
    assert data.unlabelled.hidden_labels is None
    assert data.train.classes == data.unlabelled.classes == ("cat", "dog")
    assert [len(part) for part in data] == [2 * NUM_EACH, 6, 6]
    first = np.asarray(Image.open(photos / "unlabelled/from/anywhere/00.png").resize((8, 8)))
    assert data.unlabelled.images[:].shape == (5, 3, 8, 8)
    assert abs(float(data.unlabelled.images[0].float().mean()) - first.mean()) < 3


def test_a_chosen_folder_takes_the_place_of_the_one_beside_train(photos: Path) -> None:
    data = loaded(photos, unlabelled=photos.parent / "other")
    assert data.unlabelled is not None
    assert len(data.unlabelled) == 7
    assert data.digest == data_digest(
        DataOptions(name=str(photos), image_size=8, unlabelled=photos.parent / "other")
    )
    assert data.digest != loaded(photos).digest


def test_without_the_folder_there_are_none(photos: Path) -> None:
    (photos / "unlabelled").rename(photos.parent / "moved")
    assert loaded(photos).unlabelled is None


def test_the_folder_is_part_of_the_digest(photos: Path) -> None:
    before = loaded(photos).digest
    assert before is not None
    assert before == data_digest(DataOptions(name=str(photos), image_size=8))
    (photos / "unlabelled/from/anywhere/00.png").unlink()
    after = loaded(photos).digest
    assert after is not None
    assert before.changes(after) == ["unlabelled: 5 images before, 4 now"]


@pytest.mark.parametrize("streaming", [False, True])
def test_few_labels_are_balanced_and_the_others_are_hidden(photos: Path, streaming: bool) -> None:
    whole = loaded(photos, streaming=streaming)
    data = loaded(photos, streaming=streaming, num_labels=6)
    assert data.train.labels.bincount().tolist() == [3, 3]
    assert data.unlabelled is not None
    assert data.unlabelled.hidden_labels is not None
    num_rest = 2 * NUM_EACH - 6
    assert data.unlabelled.labels.tolist() == [-1] * (num_rest + 5)
    assert data.unlabelled.hidden_labels[num_rest:].tolist() == [-1] * 5
    assert len(set(data.unlabelled.index.tolist())) == num_rest + 5
    for part, labels in (
        (data.train, data.train.labels),
        (data.unlabelled, data.unlabelled.hidden_labels),
    ):
        for place, index in enumerate(part.index.tolist()[:num_rest]):
            assert torch.equal(part.images[place], whole.train.images[index])
            assert labels[place] == whole.train.labels[index]
    together = {*data.train.index.tolist(), *data.unlabelled.index[:num_rest].tolist()}
    assert together == set(range(2 * NUM_EACH))


def test_the_choice_depends_on_its_seed_only(photos: Path) -> None:
    first, again, other = (
        loaded(photos, num_labels=6, label_seed=seed, streaming=streaming)
        for seed, streaming in ((1, False), (1, True), (2, False))
    )
    assert torch.equal(first.train.index, again.train.index)
    assert not torch.equal(first.train.index, other.train.index)
    assert first.digest is not None
    assert other.digest is not None
    assert first.digest == again.digest
    assert first.digest.changes(other.digest) == [
        "other images keep their label (num_labels, label_seed)"
    ]


def test_named_data_has_few_labels_too(tmp_path: Path) -> None:
    pictures(tmp_path / "more", 4, 0)
    data = load_data("digits", validation=200, num_labels=25)
    assert data.train.labels.bincount().tolist() == [3] * 5 + [2] * 5
    assert data.unlabelled is not None
    assert len(data.unlabelled) == 1_297 - 200 - 25
    data = load_data("digits", validation=200, num_labels=25, unlabelled=tmp_path / "more")
    assert data.unlabelled is not None
    assert len(data.unlabelled) == 1_297 - 200 - 25 + 4
    assert data.unlabelled.image_size == 32
    assert data.digest is not None
    assert data.digest.parts["unlabelled"].images == 4


def test_batches_and_selections_keep_the_hidden_labels(photos: Path) -> None:
    data = loaded(photos, num_labels=6)
    assert data.unlabelled is not None
    part = data.unlabelled.select([3, 1])
    (batch,) = part.batches([np.array([1, 0])])
    assert batch.hidden_labels is not None
    assert data.unlabelled.hidden_labels is not None
    assert batch.hidden_labels.tolist() == data.unlabelled.hidden_labels[[1, 3]].tolist()
    assert batch.labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_labels": 24}, r"num_labels must be in 2\.\.23 .*, got 24;\nset another number"),
        ({"unlabelled": "missing"}, r"missing is not a folder;\nset a folder of images"),
        ({"unlabelled": "empty"}, r"empty contains no images;\nadd some"),
    ],
)
def test_impossible_requests_are_rejected(photos: Path, more: dict, message: str) -> None:
    (photos.parent / "empty").mkdir()
    if "unlabelled" in more:
        more = {"unlabelled": photos.parent / more["unlabelled"]}
    with pytest.raises(UserError, match=message):
        loaded(photos, **more)


def test_a_class_with_too_few_images_is_named(photos: Path) -> None:
    for place in range(9):
        (photos / f"train/dog/{place:02}.png").unlink()
    with pytest.raises(UserError, match=r"needs 4 training .* but dog has 3;\n.* at most 6"):
        loaded(photos, num_labels=8)


def test_a_seed_without_a_choice_is_rejected() -> None:
    with pytest.raises(UserError, match="label_seed has no effect without num_labels"):
        load_data("digits", label_seed=3)


def test_an_empty_folder_is_ignored_with_a_warning(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(photos / "unlabelled/from")
    with caplog.at_level(logging.WARNING):
        assert loaded(photos).unlabelled is None
    assert "unlabelled is empty and is ignored" in caplog.text


def test_a_relative_folder_is_looked_up_beside_its_recipe(photos: Path) -> None:
    recipe = photos.parent / "few.toml"
    recipe.write_text(
        'base = "demo"\n[data]\nname = "photos"\nvalidation = 0.1\nunlabelled = "other"\n'
    )
    found = load_recipe(recipe)
    assert found.data.unlabelled == photos.parent / "other"
    moved = found.model_copy(
        update={"data": found.data.model_copy(update={"unlabelled": photos / "unlabelled"})}
    )
    assert differing_keys(found, moved) == []  # the digest identifies the files
    without = found.model_copy(update={"data": found.data.model_copy(update={"unlabelled": None})})
    assert differing_keys(found, without) == ["data.unlabelled"]
