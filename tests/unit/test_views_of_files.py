"""Views cropped from files: the same bytes whoever makes them, out of the whole picture."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions, ImageBatch, ImageSet, Splits, load_splits
from ruggedize.views import view_sheet
from ruggedize.views.from_files import Request, View, view_batches
from ruggedize.views.noise_options import RandAugmentOptions
from ruggedize.views.options import ViewOptions
from ruggedize.views.pairs import ViewMaker
from tests.contract.test_views import one_core
from tests.photographs import ORIENTATION, save_photographs
from tests.unit.test_custom_noise import Salt

SIZES = [(90, 60), (64, 120), (700, 500)]
NOISE = (RandAugmentOptions(),)
BATCHES = [np.array([5, 3, 9]), np.array([0]), np.array([1, 2])]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photographs(tmp_path_factory.mktemp("photos"), SIZES, per_class=8)


def loaded(photos: Path, **changes: object) -> Splits:
    options = {"name": str(photos), "image_size": 24, "validation": 2, **changes}
    return load_splits(DataOptions.model_validate(options))


@pytest.fixture(scope="module")
def in_memory(photos: Path) -> ImageSet:
    return loaded(photos, streaming=False).train


def maker_of(seed: int = 0, **changes: object) -> ViewMaker:
    options = {"crop_mode": "random-resized", "crop": 32, "noise": NOISE, **changes}
    return ViewMaker(ViewOptions.model_validate(options), image_size=24, seed=seed)


def pairs(image_set: ImageSet, maker: ViewMaker, epoch: int = 1) -> torch.Tensor:
    """Return both views of all batches, made ahead where that is possible."""
    views: tuple[View, ...] = ("clean", "noisy")
    requests = [Request(maker, view, epoch) for view in views]
    made = [
        maker.pair(batch.images, batch.index, epoch)
        for batch in view_batches(image_set, BATCHES, [requests] * len(BATCHES))
    ]
    return torch.stack([torch.cat(view) for view in zip(*made, strict=True)])


@pytest.mark.parametrize("geometry", ["independent", "shared"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_streamed_views_are_those_in_memory(
    photos: Path, in_memory: ImageSet, workers: int, geometry: str
) -> None:
    maker = maker_of(geometry=geometry)
    expected = pairs(in_memory, maker)
    streamed = loaded(photos, streaming=True, workers=workers).train
    assert torch.equal(pairs(streamed, maker), expected)
    assert not torch.equal(pairs(streamed, maker_of(seed=1, geometry=geometry)), expected)
    assert not torch.equal(pairs(streamed, maker, epoch=2), expected)


def test_views_made_one_by_one_are_those_made_ahead(in_memory: ImageSet) -> None:
    maker = maker_of()
    expected = pairs(in_memory, maker)
    batches = list(view_batches(in_memory, BATCHES, [[Request(maker, "clean", 0)]] * len(BATCHES)))
    clean = [maker.clean(batch.images, batch.index, 1) for batch in batches]
    noisy = [maker.noisy(batch.images, batch.index, 1) for batch in batches]
    assert torch.equal(torch.stack([torch.cat(clean), torch.cat(noisy)]), expected)


def test_views_do_not_depend_on_the_number_of_threads(in_memory: ImageSet) -> None:
    expected = pairs(in_memory, maker_of())
    with one_core():
        assert torch.equal(pairs(in_memory, maker_of()), expected)


def test_views_do_not_depend_on_data_fit_or_the_stored_size(photos: Path) -> None:
    sets = [
        loaded(photos, fit=fit, image_size=size).train
        for fit, size in (("crop", 24), ("squash", 24), ("pad", 40))
    ]
    first, second, third = (pairs(image_set, maker_of()) for image_set in sets)
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    test_views = [maker_of().test(image_set.images[:]) for image_set in sets[:2]]
    assert not torch.equal(*test_views), "the test view does not depend on data.fit"


def test_crops_reach_what_the_stored_square_leaves_out(tmp_path: Path) -> None:
    picture = np.zeros((40, 200, 3), np.uint8)
    picture[:, :60], picture[:, 140:] = (255, 0, 0), (0, 0, 255)
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(12):
                Image.fromarray(picture).save(tmp_path / part / name / f"{number}.png")
    train = loaded(tmp_path).train
    assert train.images[:].max() == 0, "the stored square shows a side"
    maker = maker_of(noise=(), crop_ratio=(0.5, 5.0), crop_scale=(0.1, 1.0))
    (batch,) = view_batches(train, [np.arange(len(train))], [[Request(maker, "clean", 0)]])
    views = maker.clean(batch.images, batch.index, 0)
    assert views[:, 0].max() == 255
    assert views[:, 2].max() == 255


def test_pictures_are_turned_upright_before_they_are_cropped(tmp_path: Path) -> None:
    rows = np.zeros((80, 40, 3), np.uint8)
    rows[:40] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # turn right
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(4):
                place = tmp_path / part / name / f"{number}.jpg"
                Image.fromarray(rows).save(place, exif=exif)
    train = loaded(tmp_path).train
    maker = maker_of(noise=(), crop_scale=(1.0, 1.0), crop_ratio=(2.0, 2.0), flip=False)
    (batch,) = view_batches(train, [np.arange(4)], [[Request(maker, "clean", 0)]])
    views = maker.clean(batch.images, batch.index, 0).float().mean((0, 1))
    assert views[:, :12].mean() < 20
    assert views[:, 20:].mean() > 235


def test_a_user_s_noise_is_applied_to_crops_of_files(photos: Path) -> None:
    maker = maker_of(noise=(Salt(share=0.5),), geometry="shared")
    streamed = loaded(photos, streaming=True, workers=1).train
    clean, noisy = pairs(streamed, maker)
    changed = (clean != noisy).any(1)
    assert 0.3 < changed.float().mean() < 0.7


def test_a_file_that_is_damaged_later_is_named(photos: Path, tmp_path: Path) -> None:
    save_photographs(tmp_path / "own", [(50, 40)], per_class=6)
    for workers in (0, 1):
        train = loaded(tmp_path / "own", streaming=True, workers=workers).train
        assert train.originals is not None
        path = train.originals.files[0]
        content = path.read_bytes()
        path.write_bytes(content[:200])
        with pytest.raises(UserError, match=path.name):
            pairs(train, maker_of())
        path.write_bytes(content)


def test_sets_without_files_are_cropped_from_the_stored_images(small_images: torch.Tensor) -> None:
    labels, index = torch.zeros(24, dtype=torch.int64), torch.arange(24)
    image_set = ImageSet(small_images, labels, ("a", "b"), index)
    options = maker_of().options
    maker = ViewMaker(options, image_size=32, seed=0)
    (batch,) = view_batches(image_set, [np.arange(24)], [[Request(maker, "clean", 0)]])
    assert isinstance(batch, ImageBatch)
    clean, noisy = maker.pair(batch.images, batch.index, 0)
    assert clean.shape == noisy.shape == (24, 3, 32, 32)
    parts = [maker.clean(small_images[i : i + 5], index[i : i + 5], 0) for i in range(0, 24, 5)]
    assert torch.equal(torch.cat(parts), clean)


def test_the_sheet_shows_the_test_views_beside_crops(in_memory: ImageSet) -> None:
    sheet = view_sheet(in_memory, maker_of())
    narrow = view_sheet(in_memory, ViewMaker(ViewOptions(), image_size=24, seed=0))
    assert sheet.width == pytest.approx(1.5 * narrow.width, rel=0.2)
    assert multiprocessing.active_children() == []
