"""A streamed folder takes the memory that it takes, however many images it holds."""

import pytest
from benchmarks.streaming import FEW, MANY, SMALL, peak

ALLOWED_MB = 100.0  # 190,000 paths, labels and indices, and lists of them in passing: 40 to 60
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
