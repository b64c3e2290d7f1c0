"""The view sheet shows the pixels seen in training, with the right class names."""

import numpy as np
import pytest
import torch

from ruggedize.data import ImageSet
from ruggedize.views.lettering import built_in_font, has, lettering
from ruggedize.views.noise_options import AdditiveNoiseOptions
from ruggedize.views.options import ViewOptions
from ruggedize.views.pairs import ViewMaker
from ruggedize.views.sheet import CELL, GAP, LABEL, LABEL_FONT, MARGIN, TITLE, draw_grid, view_sheet

OPTIONS = ViewOptions(resize=48, crop=36, noise=(AdditiveNoiseOptions(),))


@pytest.fixture
def image_set(small_images: torch.Tensor) -> ImageSet:
    labels = torch.tensor([0, 1, -1] * 8)
    return ImageSet(small_images, labels, ("disc", "plane"), torch.arange(24) + 50)


def test_sheet_shows_the_views_of_training(image_set: ImageSet) -> None:
    maker = ViewMaker(OPTIONS, image_size=32, seed=0)
    sheet = np.asarray(view_sheet(image_set, maker, epoch=3))
    spread = image_set.take([0, 2, 5, 8, 10, 13, 16, 18, 21])  # folders are sorted by class
    clean, noisy = maker.pair(spread.images, spread.index, 3)
    cell = 144
    half = sheet.shape[1] // 2
    for place in range(9):
        row, column = divmod(place, 3)
        top = MARGIN + TITLE + row * (cell + LABEL + GAP)
        for start, views in ((0, clean), (half, noisy)):
            left = start + MARGIN + column * (cell + GAP)
            shown = sheet[top : top + cell : 4, left : left + cell : 4]
            assert np.array_equal(shown, views[place].permute(1, 2, 0).numpy())


def test_sheet_of_fewer_than_nine_images_is_smaller(image_set: ImageSet) -> None:
    maker = ViewMaker(OPTIONS, image_size=32, seed=0)
    whole = view_sheet(image_set, maker)
    part = view_sheet(image_set.select([0, 1]), maker)
    assert part.width == whole.width
    assert part.height < whole.height


LONG = "great_white_shark_carcharodon_carcharias"


@pytest.mark.parametrize("name", ["cat", LONG, "W" * 60, "Größe " * 9, "日本語" * 20])
def test_a_name_stays_within_its_cell(name: str) -> None:
    text = lettering(name, LABEL_FONT, CELL)
    assert built_in_font(LABEL_FONT).getlength(text) <= CELL
    assert (text == name) == (name == "cat")
    assert name == "cat" or text.endswith("…")


def test_long_names_leave_a_gap_between_cells() -> None:
    views = torch.zeros((2, 3, 36, 36), dtype=torch.uint8)
    grid = np.asarray(draw_grid("", views, [LONG, LONG]).convert("L"))
    gap = grid[TITLE + CELL : TITLE + CELL + LABEL, CELL : CELL + GAP]
    assert gap.min() == 255


def test_characters_missing_from_the_font_are_written_in_ascii() -> None:
    drawn = {name: lettering(name, LABEL_FONT, CELL) for name in ("Été", "日本", "a\nb")}
    assert drawn == {"Été": "Ete", "日本": r"\u65e5\u672c", "a\nb": r"a\nb"}
    assert not has(built_in_font(LABEL_FONT), "日")
    assert has(built_in_font(LABEL_FONT), "E")
