"""The resize against a plain NumPy oracle, against PyTorch, and one step against two."""

import numpy as np
import pytest
import torch

from ruggedize.kernels.warp import Placements, pad_and_crop, resize, resize_and_crop

SIZES = [(32, 96), (32, 72), (32, 32), (32, 20), (32, 224), (30, 45), (72, 71), (5, 3)]
ROUNDING = 0.5 + 1e-4  # the kernel works in float32


def oracle(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sample a plane at half-pixel centres, pixel by pixel, in float64 and not rounded."""
    source_height, source_width = image.shape
    out = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            row = min(max((y + 0.5) * source_height / height - 0.5, 0), source_height - 1)
            column = min(max((x + 0.5) * source_width / width - 0.5, 0), source_width - 1)
            top, left = int(row), int(column)
            bottom, right = min(top + 1, source_height - 1), min(left + 1, source_width - 1)
            upper = image[top, left] * (1 - column + left) + image[top, right] * (column - left)
            lower = image[bottom, left] * (1 - column + left) + image[bottom, right] * (
                column - left
            )
            out[y, x] = upper * (1 - row + top) + lower * (row - top)
    return out


def grain(n: int, height: int, width: int) -> torch.Tensor:
    values = np.random.default_rng(1).integers(0, 256, (n, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(values)


def placements_of(n: int, num_offsets: int) -> Placements:
    rng = np.random.default_rng(2)
    offsets = rng.integers(0, num_offsets, (2, n))
    return Placements(rng.random(n) < 0.5, offsets[0], offsets[1])


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_resize_rounds_what_the_oracle_gives(source: int, target: int) -> None:
    image = grain(1, source, source)
    expected = oracle(image[0, 0].numpy().astype(float), target, target)
    got = resize(image, target)[0, 0].numpy()
    assert np.abs(got - expected).max() <= ROUNDING
    if target not in (source, 3):
        wrong = oracle(image[0, 0].numpy().astype(float)[::-1, :], target, target)
        assert np.abs(got - wrong).max() > 10  # it bites


def test_resize_of_an_oblong_image_matches_the_oracle() -> None:
    image = grain(1, 20, 33)
    expected = oracle(image[0, 1].numpy().astype(float), 41, 27)
    got = resize(image, (41, 27))
    assert got.shape == (1, 3, 41, 27)
    assert np.abs(got[0, 1].numpy() - expected).max() <= ROUNDING


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_resize_matches_pytorch_without_antialiasing(source: int, target: int) -> None:
    images = grain(4, source, source)
    expected = torch.nn.functional.interpolate(images.double(), size=target, mode="bilinear")
    assert (resize(images, target) - expected).abs().max() <= ROUNDING


def test_resize_rounds_halves_up() -> None:
    image = torch.tensor([10, 11], dtype=torch.uint8).reshape(1, 1, 1, 2)
    assert resize(image, (1, 1)).item() == 11


def test_resize_to_the_same_size_gives_the_same_images() -> None:
    images = grain(2, 32, 32)
    assert torch.equal(resize(images, 32), images)


@pytest.mark.parametrize(("size", "crop"), [(96, 72), (40, 40), (32, 24), (20, 7)])
def test_one_step_equals_flipping_then_resizing_then_cropping(size: int, crop: int) -> None:
    images = grain(24, 32, 32)
    placements = placements_of(24, size - crop + 1)
    got = resize_and_crop(images, size, crop, placements)
    for i, (flip, top, left) in enumerate(zip(*placements, strict=True)):
        image = images[i : i + 1].flip(3) if flip else images[i : i + 1]
        whole = resize(image, size)
        assert torch.equal(got[i], whole[0, :, top : top + crop, left : left + crop])
        if size > crop:
            moved = whole.roll((1, 1), (2, 3))[0, :, top : top + crop, left : left + crop]
            assert not torch.equal(got[i], moved)  # it bites


@pytest.mark.parametrize(("pad", "crop"), [(4, 32), (0, 28), (2, 36), (0, 32)])
def test_padding_equals_numpys_black_padding(pad: int, crop: int) -> None:
    images = grain(24, 32, 32)
    placements = placements_of(24, 32 + 2 * pad - crop + 1)
    got = pad_and_crop(images, pad, crop, placements)
    for i, (flip, top, left) in enumerate(zip(*placements, strict=True)):
        image = images[i].flip(2) if flip else images[i]
        padded = np.pad(image.numpy(), ((0, 0), (pad, pad), (pad, pad)))
        assert np.array_equal(got[i], padded[:, top : top + crop, left : left + crop])
