"""How a comparison is timed and written down."""

import statistics
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from ruggedize.core.environment import environment

Contestant = Callable[[], float]  # does its piece of work once and gives images a second
Rates = dict[str, list[float]]  # of each contestant, one a round
Content = dict[str, Any]  # of a JSON file in results/
Pair = tuple[str, str, tuple[str, ...]]  # ours, the peer, the packages that the peer needs
RESULTS = Path(__file__).parent / "results"
DISTRIBUTIONS = {"tensorflow": ("tensorflow-cpu", "tensorflow")}


def timed(work: Callable[[], int], *, warmed: bool = False) -> Contestant:
    """Make a contestant of a function that gives the number of images it did.

    `warmed` does the work once more before each time that counts: while contestants in other
    processes are at work, memory and caches go cold, and whoever comes next would pay for it.
    """

    def contestant() -> float:
        if warmed:
            work()
        started = time.perf_counter()
        num_images = work()
        return num_images / (time.perf_counter() - started)

    return contestant


def interleaved(contestants: dict[str, Contestant], rounds: int) -> Rates:
    """Run every contestant once a round, in turn.

    The first call of each does not count: it compiles, allocates and warms up.
    """
    rates: Rates = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant()
    for _ in range(rounds):
        for name, contestant in contestants.items():
            rates[name].append(contestant())
    return rates


def begun(rounds: int, packages: Iterable[str] = ()) -> Content:
    """Begin a result with the machine and the versions that it belongs to, the peers' too."""
    return {
        "environment": environment(),
        "rounds": rounds,
        "peers": {package: installed_version(package) for package in packages},
        "images_per_second": {},
        "ratios": {},
    }


def installed_version(package: str) -> str:
    """Return a peer's version, or `missing`."""
    for name in DISTRIBUTIONS.get(package, (package,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "missing"


def missing_peers(content: Content) -> list[str]:
    """Name the peers that are not installed."""
    return [package for package, version in content["peers"].items() if version == "missing"]


def add_group(content: Content, group: str, rates: Rates, pairs: Iterable[Pair]) -> None:
    """Add contestants that were timed together, and how many times a peer's rate ours is."""
    content["images_per_second"][group] = {name: described(found) for name, found in rates.items()}
    for ours, theirs, packages in pairs:
        if theirs in rates:
            by_round = [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]
            low, median, high = quartiles(by_round)
            content["ratios"][f"{group}: {ours} / {theirs}"] = {
                "ratio": digits(median),
                "quartiles": [digits(low), digits(high)],
                "needs": list(packages),
            }


def described(rates: list[float]) -> dict[str, Any]:
    """Return the median and the quartiles, in images a second."""
    low, median, high = quartiles(rates)
    return {"images_per_second": digits(median), "quartiles": [digits(low), digits(high)]}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile; of one value, that value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4)
    return low, median, high


def digits(value: float) -> float:
    """Keep four digits: the rates of two contestants may differ by a factor of a thousand."""
    return float(f"{value:.4g}")
