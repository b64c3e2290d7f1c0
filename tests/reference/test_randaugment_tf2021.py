"""`tf-2021` against plain NumPy: what the Keras example's RandAugment did, faults and all.

The oracle shares nothing with the code under test but the names of the operations and the order in
which they are drawn; even the random values are computed anew.
"""

import math

import numpy as np
import pytest
import torch

from ruggedize.core.seeding import stream_key
from ruggedize.views import operations as op
from ruggedize.views.augment import randaugment
from ruggedize.views.operations import operations
from tests.single_operation import apply, pictures

WORD = 2**64
GOLDEN = 0x9E3779B97F4A7C15
FACTOR = 0.9 * 1.8 + 0.1


def mix64(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB % WORD
    return value ^ value >> 31


def uniform(stream: int, index: int, counter: int) -> float:
    key = mix64(stream ^ mix64((index + 1) * GOLDEN % WORD))
    return (mix64((key + (counter + 1) * GOLDEN) % WORD) >> 11) / 2**53


def fold(position: np.ndarray, size: int) -> np.ndarray:
    """Continue 0..size-1 as d c b a | a b c d | d c b a."""
    position = np.floor(position + np.float32(0.5)).astype(int) % (2 * size)
    return np.where(position < size, position, 2 * size - 1 - position)


def sampled(image: np.ndarray, x_in: np.ndarray, y_in: np.ndarray) -> np.ndarray:
    """Sample the nearest pixel, positions counted from the centre of the first one."""
    return image[:, fold(y_in, image.shape[1]), fold(x_in, image.shape[2])]


def blended(start: np.ndarray | float, image: np.ndarray) -> np.ndarray:
    start = np.broadcast_to(np.asarray(start, np.float32), image.shape)
    mixed = start + np.float32(FACTOR) * (image.astype(np.float32) - start)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def auto_contrasted(channel: np.ndarray) -> np.ndarray:
    lowest, highest = float(channel.min()), float(channel.max())
    if lowest == highest:
        return channel
    scale = 255.0 / (highest - lowest)
    return np.clip(channel * scale - lowest * scale, 0, 255).astype(np.uint8)


def equalized(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.ravel(), minlength=256)
    step = (counts.sum() - counts[counts.nonzero()[0][-1]]) // 255
    if step == 0:
        return channel
    below = np.concatenate([[0], counts.cumsum()[:-1]])
    return np.minimum((below + step // 2) // step, 255).astype(np.uint8)[channel]


def smoothed(image: np.ndarray) -> np.ndarray:
    """Smooth by (1 1 1 / 1 5 1 / 1 1 1) / 13, rounded; the border stays."""
    wide = image.astype(int)
    height, width = image.shape[1:]
    total = 4 * wide[:, 1:-1, 1:-1]
    for dy in range(3):
        for dx in range(3):
            total = total + wide[:, dy : dy + height - 2, dx : dx + width - 2]
    result = image.copy()
    result[:, 1:-1, 1:-1] = (2 * total + 13) // 26
    return result


def cut_out(image: np.ndarray, centre_y: int, centre_x: int) -> np.ndarray:
    y, x = np.mgrid[0 : image.shape[1], 0 : image.shape[2]]
    square = (y >= centre_y - 36) & (y < centre_y + 36) & (x >= centre_x - 36) & (x < centre_x + 36)
    return np.where(square, np.uint8(128), image)


def recolored(image: np.ndarray, name: str) -> np.ndarray:
    height, width = image.shape[1:]
    red, green, blue = image.astype(int)
    grey = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    match name:
        case "Identity":
            return image
        case "AutoContrast":
            return np.stack([auto_contrasted(channel) for channel in image])
        case "Equalize":
            return np.stack([equalized(channel) for channel in image])
        case "Invert":
            return 255 - image
        case "Posterize":
            return image // 32 * 32
        case "Solarize":
            return np.where(image < 230, image, 255 - image)
        case "SolarizeAdd":
            return np.where(image < 128, np.minimum(image.astype(int) + 99, 255), image)
        case "Color":
            return blended(grey, image)
        case "Contrast":
            return blended(math.floor(min(255, height * width / 256)), image)
        case "Brightness":
            return blended(0, image)
        case "Sharpness":
            return blended(smoothed(image), image)
    raise AssertionError(name)


def moved(image: np.ndarray, name: str, sign: int) -> np.ndarray:
    height, width = image.shape[1:]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)  # as TensorFlow's positions are
    shear = np.float32(sign * 0.27)
    angle = math.radians(-27 * sign)
    from_x, from_y = x - (width - 1) / 2, y - (height - 1) / 2
    match name:
        case "ShearX":
            return sampled(image, x + shear * y, y)
        case "ShearY":
            return sampled(image, x, y + shear * x)
        case "TranslateX":
            return sampled(image, x + sign * 90, y)
        case "TranslateY":
            return sampled(image, x, y + sign * 90)
        case "Rotate":
            x_in = math.cos(angle) * from_x + math.sin(angle) * from_y + (width - 1) / 2
            y_in = -math.sin(angle) * from_x + math.cos(angle) * from_y + (height - 1) / 2
            return sampled(image, x_in, y_in)
    raise AssertionError(name)


MOVES = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}
NAMES = [operation.name for operation in operations("tf-2021", 9, 72, 72)]


def augmented(image: np.ndarray, stream: int, index: int, num_layers: int) -> np.ndarray:
    """Augment one image by the operations that its index draws."""
    for layer in range(num_layers):
        draws = [uniform(stream, index, 8 * layer + counter) for counter in range(8)]
        name = NAMES[int(draws[0] * 17)]
        if name in MOVES:
            image = moved(image, name, 1 if draws[2] < 0.5 else -1)
        elif name == "Cutout":
            height, width = image.shape[1:]
            image = cut_out(image, int(draws[4] * height), int(draws[5] * width))
        else:
            image = recolored(image, name).astype(np.uint8)
    return image


@pytest.mark.parametrize("size", [(72, 72), (64, 96)], ids=str)
def test_whole_views_equal_the_oracles(small_images: torch.Tensor, size: tuple[int, int]) -> None:
    images = np.tile(pictures(small_images, *size), (14, 1, 1, 1))
    ours = randaugment(torch.from_numpy(images), seed=5, epoch=2, semantics="tf-2021").numpy()
    stream = int(stream_key(5, "randaugment", 2))
    expected = np.stack([augmented(image, stream, i, 2) for i, image in enumerate(images)])
    assert (ours == expected).mean() >= 0.995
    exact = (ours == expected).all(axis=(1, 2, 3))
    assert exact.mean() > 0.8  # the others: a position halfway between two pixels
    others = np.stack([augmented(image, stream + 1, i, 2) for i, image in enumerate(images)])
    assert (ours == others).mean() < 0.6  # it bites


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", sorted(MOVES))
def test_every_move_is_nearest_with_a_mirror_around_it(
    small_images: torch.Tensor, name: str, sign: int
) -> None:
    images = pictures(small_images, 72, 72)
    operation = next(o for o in operations("tf-2021", 9, 72, 72) if o.name == name)
    level = operation.level if sign > 0 else operation.opposite
    ours = apply(images, "tf-2021", operation.code, level)
    expected = np.stack([moved(image, name, sign) for image in images])
    assert (ours == expected).mean() >= 0.995


def test_contrast_brightens_because_it_blends_with_the_area(small_images: torch.Tensor) -> None:
    images = pictures(small_images, 72, 72)
    ours = apply(images, "tf-2021", op.CONTRAST_ABOUT_AREA, FACTOR)
    np.testing.assert_array_equal(ours, np.stack([blended(20, image) for image in images]))
    assert ours[:12].mean() > images[:12].mean() + 10
    assert not np.array_equal(ours, apply(images, "tf", op.CONTRAST, FACTOR))


def test_translation_leaves_no_fill_but_the_mirrored_picture() -> None:
    ramp = np.broadcast_to(np.arange(72, dtype=np.uint8), (1, 3, 72, 72)).copy()
    moved_left = apply(ramp, "tf-2021", op.TRANSLATE_X, 90.0)[0, 0, 0]
    continued = np.concatenate([np.arange(72), np.arange(72)[::-1], np.arange(72)])
    np.testing.assert_array_equal(moved_left, continued[90:162])
