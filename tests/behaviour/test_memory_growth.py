"""A streamed folder takes the memory that it takes, however many images it holds."""

import pytest
from benchmarks.streaming import FEW, MANY, SMALL, peak

ALLOWED_MB = 50.0  # paths, labels and indices of 190,000 images take 20 MB
ALL_PIXELS_MB = (MANY - FEW) * 3 * SMALL**2 / 1e6


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_images() -> None:
    few, many = (peak(number, "streamed") for number in (FEW, MANY))
    assert many["main process"] - few["main process"] < ALLOWED_MB
    assert many["largest worker process"] - few["largest worker process"] < ALLOWED_MB


@pytest.mark.long
def test_in_memory_it_does() -> None:
    few, many = (peak(number, "in memory") for number in (FEW, MANY))
    assert many["main process"] - few["main process"] > ALL_PIXELS_MB / 2  # so the test bites
