"""Corruptions: ours on one core and on all, beside a plain implementation image by image.

The first peer is the oracle of the tests: NumPy, SciPy, OpenCV and PIL, written to be obvious.
The second is `imagecorruptions` 1.1.2 where it is installed (it has the constants of ImageNet-C
alone, and needs an old setuptools); what it can no longer do is named.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tests.oracles import ORACLES

from benchmarks.pictures import pictures
from benchmarks.record import ROUNDS, interleaved, write
from evenkeel.corruptions import CORRUPTIONS, corrupt
from evenkeel.corruptions.names import SEVERITIES
from evenkeel.corruptions.photographs import check_photographs, frost_folder
from evenkeel.images.blocks import available_cores

Preset = Literal["cifar", "imagenet"]
SIZES: dict[int, tuple[Preset, int, int]] = {  # side: preset, images a call of ours, of the peer's
    32: ("cifar", 2_000, 8),
    224: ("imagenet", 40, 1),
}
WHOLE = 10_000  # test images of CIFAR-10
COMPILE = """
import time, torch
from evenkeel.corruptions import CORRUPTIONS, corrupt
images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
started = time.perf_counter()
for name in CORRUPTIONS:
    corrupt(images, name, 1)
print(time.perf_counter() - started)
"""


def main() -> None:
    """Measure both sizes, all of CIFAR-10-C, and the first compilation."""
    check_photographs(frost_folder())
    for size, (preset, ours, theirs) in SIZES.items():
        content: dict[str, Any] = {"preset": preset, "cores": available_cores()}
        content["imagecorruptions"] = "installed" if find_spec("imagecorruptions") else "missing"
        content["images_per_second"] = side_by_side(pictures(size, ours), theirs, preset)
        if size == 32:
            content["seconds"] = whole_suite() | compilation()
            content["microseconds an image, by their number"] = by_number()
        print(write(f"corruptions--{size}px", content))  # noqa: T201


def side_by_side(images: torch.Tensor, num_peer: int, preset: Preset) -> dict[str, Any]:
    """Time every corruption at all severities, ours and the peer's in turn."""
    found = {}
    for name in CORRUPTIONS:
        contestants: dict[str, Callable[[], int]] = {
            "evenkeel": partial(ours, images, name, preset),
            "evenkeel, one core": partial(on_one_core, images, name, preset),
            "oracle, one core": partial(peer, images[:num_peer], name, preset),
        }
        failure = (
            add_package(contestants, images[:num_peer], name) if preset == "imagenet" else None
        )
        rates = interleaved(contestants)
        one, *others = (rates[key]["images_per_second"] for key in list(rates)[1:])
        times = {
            f"times {peer}": round(one / rate, 1)
            for peer, rate in zip(list(rates)[2:], others, strict=True)
        }
        found[name] = rates | times | ({"imagecorruptions fails": failure} if failure else {})
    return found


def ours(images: torch.Tensor, name: str, preset: Preset) -> int:
    """Corrupt at all severities on the cores that this process may use."""
    for severity in SEVERITIES:
        corrupt(images, name, severity, preset=preset)
    return len(SEVERITIES) * len(images)


def on_one_core(images: torch.Tensor, name: str, preset: Preset) -> int:
    """Corrupt at all severities on one core."""
    with one_core():
        return ours(images, name, preset)


@contextmanager
def one_core() -> Iterator[None]:
    """Let this process run on one of its cores only."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def peer(images: torch.Tensor, name: str, preset: Preset) -> int:
    """Corrupt image by image with the tests' oracle."""
    rng = np.random.RandomState(0)
    with one_core():
        for level in getattr(CORRUPTIONS[name], preset):
            for image in images:
                ORACLES[name](image.permute(1, 2, 0).numpy(), level, rng)
    return len(SEVERITIES) * len(images)


def add_package(
    contestants: dict[str, Callable[[], int]], images: torch.Tensor, name: str
) -> str | None:
    """Add `imagecorruptions` to the contestants, or say why it cannot do this corruption."""
    if find_spec("imagecorruptions") is None:
        return None
    from imagecorruptions import corrupt as theirs  # pyright: ignore[reportMissingImports]

    def work() -> int:
        with one_core():
            for severity in SEVERITIES:
                for image in images:
                    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
                    theirs(pixels, corruption_name=name, severity=severity)
        return len(SEVERITIES) * len(images)

    try:
        work()
    except (TypeError, AttributeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:100]
    contestants["imagecorruptions, one core"] = work
    return None


def whole_suite() -> dict[str, Any]:
    """Time all of CIFAR-10-C: 19 corruptions, five severities, 10,000 images."""
    images = pictures(32, WHOLE)
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name in CORRUPTIONS:
            started = time.perf_counter()
            ours(images, name, "cifar")
            seconds.setdefault(name, []).append(time.perf_counter() - started)
    totals = [sum(round_) for round_ in zip(*seconds.values(), strict=True)]
    low, median, high = statistics.quantiles(totals, n=4)
    return {
        "all of CIFAR-10-C": round(median, 2),
        "its quartiles": [round(low, 2), round(high, 2)],
        "of which": {name: round(statistics.median(all_), 3) for name, all_ in seconds.items()},
    }


def by_number() -> dict[int, float]:
    """Give the mean cost of an image over all corruptions at severity 3, for sets of any size."""
    found = {}
    for n in (1_000, 10_000, 50_000):
        images = pictures(32, n)
        started = time.perf_counter()
        for name in CORRUPTIONS:
            corrupt(images, name, 3)
        found[n] = round(1e6 * (time.perf_counter() - started) / (n * len(CORRUPTIONS)), 2)
    return found


def compilation() -> dict[str, float]:
    """Time the first use of all corruptions in a new process, without and with kept kernels."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        first, second = (
            subprocess.run(
                [sys.executable, "-c", COMPILE],
                env=environment,
                capture_output=True,
                check=True,
                text=True,
                cwd=Path(__file__).parents[1],
            )
            for _ in range(2)
        )
    return {
        "first compilation": round(float(first.stdout), 1),
        "kernels read back": round(float(second.stdout), 2),
    }


if __name__ == "__main__":
    main()
