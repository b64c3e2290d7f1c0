"""Snow, frost, fog and spatter against slow and obvious ones, on other sizes and constants."""

import cv2
import numpy as np
import pytest

from ruggedize.corruptions import CORRUPTIONS, spatter
from ruggedize.corruptions.names import SEVERITIES
from ruggedize.kernels.edges import find_edges, measure_distances
from ruggedize.kernels.filters import filter_3x3
from tests.reference.test_corruptions_oracle import picture, to_pixels
from tests.reference.weather_draws import WEATHER
from tests.reference.weather_oracle import ORACLES, blurred

SIZES = [(64, 64), (96, 80), (45, 37), (8, 8)]


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WEATHER)
def test_the_weather_agrees_within_one(name: str, size, preset, request):
    if name == "frost":
        request.getfixturevalue("photographs")
    pixels = picture(size)
    for severity in SEVERITIES:
        level = getattr(CORRUPTIONS[name], preset)[severity - 1]
        found = np.empty((3, *size), np.uint8)
        WEATHER[name](np.random.RandomState(severity), pixels.transpose(2, 0, 1), found, level)
        expected, other = (
            to_pixels(ORACLES[name](pixels, level, np.random.RandomState(seed)) / 255).astype(int)
            for seed in (severity, severity + 9)
        )
        off = np.abs(found.transpose(1, 2, 0) - expected)
        assert (off <= 1).mean() >= 0.999
        if size != (8, 8):
            assert (np.abs(found.transpose(1, 2, 0) - other) > 1).mean() > 0.01  # it bites


def liquids() -> list[np.ndarray]:
    """Blurred noise, cut off, of several grains and sizes; one plane of a single value."""
    rng = np.random.RandomState(3)
    planes = [np.full((7, 9), 200, np.uint8)]
    for size, sigma in [((64, 64), 1.0), ((50, 81), 3.0), ((1, 40), 1.0), ((30, 30), 0.5)]:
        plane = blurred(rng.normal(size=size), sigma)
        plane = 128 + 50 * plane / plane.std()
        planes.append(np.where(plane > 120, np.clip(plane, 0, 255), 0).astype(np.uint8))
    return planes


@pytest.mark.parametrize("plane", liquids(), ids=lambda plane: "x".join(map(str, plane.shape)))
def test_edges_and_distances_are_opencv_s(plane: np.ndarray):
    height, width = plane.shape
    edges = np.empty_like(plane)
    whole, stack = np.empty((2, height, width), np.int32), np.empty(plane.size, np.int32)
    find_edges(plane, 50, 150, whole, np.empty((height + 2, width + 2), np.int32), stack, edges)
    assert np.array_equal(edges, cv2.Canny(plane, 50, 150))
    distances = np.empty((height + 4, width + 4), np.float32)
    measure_distances(edges, distances)
    theirs = cv2.distanceTransform(255 - edges, cv2.DIST_L2, 5)
    assert np.array_equal(np.minimum(distances[2:-2, 2:-2], 99), np.minimum(theirs, 99))
    if edges.any() and height > 1:
        assert not np.array_equal(cv2.Canny(plane, 50, 350), edges)  # it bites
        assert not np.array_equal(cv2.distanceTransform(255 - edges, cv2.DIST_L2, 3), theirs)


@pytest.mark.parametrize("plane", liquids(), ids=lambda plane: "x".join(map(str, plane.shape)))
def test_relief_and_histogram_are_opencv_s(plane: np.ndarray):
    height, width = plane.shape
    out, values = np.empty(plane.shape), plane.astype(float)
    filter_3x3(values, spatter.RELIEF, np.empty((height + 2, width + 2)), out)
    assert np.array_equal(out, cv2.filter2D(values, -1, spatter.RELIEF))
    values = values.ravel()
    spatter.equalise(values)
    assert np.array_equal(values, cv2.equalizeHist(plane).ravel())


def test_water_without_a_drop_leaves_the_image_as_it_is():
    pixels = picture((20, 30)).transpose(2, 0, 1).copy()
    out = np.empty_like(pixels)
    WEATHER["spatter"](np.random.RandomState(0), pixels, out, (0.0, 0.1, 0.7, 0.7, 0.5, 0))
    assert np.array_equal(out, pixels)
    WEATHER["spatter"](np.random.RandomState(0), pixels, out, (0.6, 0.1, 0.7, 0.7, 0.5, 0))
    assert not np.array_equal(out, pixels)  # it bites
