"""Contract of the geometry: what its draws depend on, and their distribution."""

import numpy as np
import pytest
import torch

from ruggedize.core.seeding import stream_key
from ruggedize.views.geometry import apply_geometry, draw_placements
from ruggedize.views.options import ViewOptions

MANY = 20_000
RULES = {
    "resize and crop": (ViewOptions(resize=96, crop=72), 72),
    "resize alone": (ViewOptions(resize=48), 48),
    "resize to the stored size, then crop": (ViewOptions(resize=32, crop=24), 24),
    "pad": (ViewOptions(pad=4), 32),
    "crop alone": (ViewOptions(crop=28), 28),
    "pad and crop": (ViewOptions(pad=2, crop=34), 34),
    "flip alone": (ViewOptions(), 32),
}


@pytest.mark.parametrize("rule", RULES)
def test_views_have_the_input_size_and_do_not_modify_the_images(
    rule: str, small_images: torch.Tensor
) -> None:
    options, side = RULES[rule]
    before = small_images.clone()
    views = apply_geometry(small_images, np.arange(24), stream_key(0, "test"), options)
    assert views.shape == (24, 3, side, side)
    assert views.dtype == torch.uint8
    assert options.input_size(32) == side
    assert torch.equal(small_images, before)
    assert views.data_ptr() != small_images.data_ptr()


@pytest.mark.parametrize("num_offsets", [1, 2, 9, 25])
def test_crop_offsets_are_uniform_and_reach_both_ends(num_offsets: int) -> None:
    placements = draw_placements(stream_key(0, "test"), np.arange(MANY), True, num_offsets)
    for offsets in (placements.top, placements.left):
        counts = np.bincount(offsets, minlength=num_offsets)
        assert len(counts) == num_offsets
        expected = MANY / num_offsets
        assert np.abs(counts - expected).max() <= 4.5 * np.sqrt(expected)


def test_draws_of_an_image_are_uncorrelated() -> None:
    placements = draw_placements(stream_key(0, "test"), np.arange(MANY), True, 25)
    draws = np.stack([placements.flip, placements.top, placements.left]).astype(float)
    between = np.corrcoef(draws)[np.triu_indices(3, 1)]
    neighbours = [np.corrcoef(draw[:-1], draw[1:])[0, 1] for draw in draws]
    assert np.abs([*between, *neighbours]).max() < 4.5 / np.sqrt(MANY)


def test_half_of_the_views_are_flipped_and_none_when_flip_is_off() -> None:
    stream = stream_key(0, "test")
    share = draw_placements(stream, np.arange(MANY), True, 1).flip.mean()
    assert abs(share - 0.5) < 4.5 * 0.5 / np.sqrt(MANY)
    assert not draw_placements(stream, np.arange(MANY), False, 1).flip.any()


def test_flipping_mirrors_left_to_right(small_images: torch.Tensor) -> None:
    stream = stream_key(0, "test")
    views = apply_geometry(small_images, np.arange(24), stream, ViewOptions())
    flipped = draw_placements(stream, np.arange(24), True, 1).flip
    assert 0 < flipped.sum() < 24
    for view, image, flip in zip(views, small_images, flipped, strict=True):
        assert torch.equal(view, image.flip(2) if flip else image)


def test_turning_the_flip_off_keeps_the_crops(small_images: torch.Tensor) -> None:
    stream = stream_key(0, "test")
    with_flip = draw_placements(stream, np.arange(24), True, 9)
    without = draw_placements(stream, np.arange(24), False, 9)
    assert np.array_equal(with_flip.top, without.top)
    assert np.array_equal(with_flip.left, without.left)
