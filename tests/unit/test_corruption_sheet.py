"""The sheet of corruptions shows the very pixels that the suite gives, at the right places."""

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.corruptions import corruption_sheet, generated_suite
from ruggedize.corruptions.severity_sheet import GAP, MARGIN, NAMES, TITLE

PROCEDURAL = {"frost": {"textures": "procedural"}}  # needs no photographs
CELL = 96  # of an image of 32 pixels


def test_the_sheet_shows_the_suites_images(small_images: torch.Tensor) -> None:
    suite = generated_suite(small_images, seed=5, options=PROCEDURAL)
    sheet = np.asarray(corruption_sheet(suite, small_images[7], 7))
    for row, name in enumerate(suite.corruptions):
        top = MARGIN + TITLE + row * (CELL + GAP)
        for severity in range(6):
            left = MARGIN + NAMES + severity * (CELL + GAP)
            shown = sheet[top : top + CELL : 3, left : left + CELL : 3]
            image = suite.images(name, severity, 7, 8)[0] if severity else small_images[7]
            assert np.array_equal(shown, image.permute(1, 2, 0).numpy())
    assert sheet.shape[0] == 2 * MARGIN + TITLE + len(suite.corruptions) * (CELL + GAP)


def test_some_corruptions_are_shown_alone(small_images: torch.Tensor) -> None:
    suite = generated_suite(small_images)
    sheet = corruption_sheet(suite, small_images[0], 0, ("contrast", "pixelate"))
    assert sheet.height == 2 * MARGIN + TITLE + 2 * (CELL + GAP)
    with pytest.raises(UserError, match=r"has no corruption fogg;\ndid you mean fog\?"):
        corruption_sheet(suite, small_images[0], 0, ("fogg",))


def test_below_is_a_note_if_the_lengths_were_made_for_another_size() -> None:
    images = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)
    suites = {name: generated_suite(images, preset=name) for name in ("auto", "scaled", "imagenet")}
    sheets = {
        name: corruption_sheet(suite, images[0], 0, ("contrast",)) for name, suite in suites.items()
    }
    plain = sheets.pop("imagenet").height
    for sheet in sheets.values():
        assert sheet.height > plain
        note = np.asarray(sheet.convert("L"))[plain - MARGIN :]
        assert (note < 200).any(0).sum() > 100  # columns with ink
        assert (note[:, -MARGIN // 2 :] == 255).all()  # it ends before the edge


@pytest.mark.parametrize(("height", "width"), [(300, 400), (40, 24), (1, 5)])
def test_images_of_any_size_find_room(height: int, width: int) -> None:
    images = torch.full((1, 3, height, width), 90, dtype=torch.uint8)
    sheet = corruption_sheet(generated_suite(images), images[0], 0, ("contrast",))
    assert sheet.height < 2 * (MARGIN + TITLE) + 300
    assert sheet.width > NAMES + 6 * 40


def test_names_of_large_cells_are_as_legible_as_those_of_small_ones() -> None:
    sheets = {}
    for side in (32, 224):
        images = torch.full((1, 3, side, side), 90, dtype=torch.uint8)
        suite = generated_suite(images)
        sheets[side] = np.asarray(corruption_sheet(suite, images[0], 0, ("contrast",)).convert("L"))
    spans = {side: heading_height(sheet) for side, sheet in sheets.items()}
    assert spans[224] > 1.8 * spans[32] > 10


def heading_height(sheet: np.ndarray) -> int:
    """Measure the word over the column of names."""
    inked = np.flatnonzero(
        (sheet[MARGIN : MARGIN + TITLE * 2, MARGIN : MARGIN + NAMES] < 200).any(1)
    )
    gaps = np.flatnonzero(np.diff(inked) > 3)
    return int(inked[gaps[0]] if len(gaps) else inked[-1]) - int(inked[0]) + 1
