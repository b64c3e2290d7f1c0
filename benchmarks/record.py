"""How a comparison is timed and written down."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evenkeel import runs

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5


def interleaved(contestants: dict[str, Callable[[], int]]) -> dict[str, dict[str, Any]]:
    """Time each contestant once a round, in turn; a call gives the number of images it did.

    The first call of each is not timed: it compiles, allocates and warms up.
    """
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant()
    for _ in range(ROUNDS):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            num_images = contestant()
            rates[name].append(num_images / (time.perf_counter() - started))
    return {name: described(found) for name, found in rates.items()}


def described(rates: list[float]) -> dict[str, Any]:
    """Give the median and the quartiles, in images a second."""
    low, median, high = statistics.quantiles(rates, n=4)
    return {"images_per_second": digits(median), "quartiles": [digits(low), digits(high)]}


def digits(value: float) -> float:
    """Keep four digits: the rates of two contestants may differ by a factor of a thousand."""
    return float(f"{value:.4g}")


def write(name: str, content: dict[str, Any]) -> Path:
    """Write a result with the machine and the versions that it belongs to."""
    path = RESULTS / f"{name}.json"
    runs.write_json(path, {"environment": runs.environment(), "rounds": ROUNDS, **content})
    return path
