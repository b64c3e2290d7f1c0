"""Corruptions: ours on one core and on all, beside a plain implementation image by image.

The first peer is the oracle of the tests: NumPy, SciPy, OpenCV and PIL, written to be obvious.
The second is `imagecorruptions` 1.1.2 where it is installed (it has the constants of ImageNet-C
alone, and needs an old setuptools); what it can no longer do is named.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from tests.oracles import ORACLES

from benchmarks.compare import compare
from benchmarks.compilation import compilation
from benchmarks.cores import on_one_core
from benchmarks.pictures import pictures
from benchmarks.record import Content, Pair, add_group, begun, interleaved, quartiles, timed
from ruggedize.corruptions import CORRUPTIONS, chosen_names, corrupt, generated_suite
from ruggedize.corruptions.names import SEVERITIES
from ruggedize.kernels.blocks import available_cores

Preset = Literal["cifar", "imagenet"]
SIZES: dict[int, tuple[Preset, int, int]] = {  # side: preset, images a call of ours, of the peer's
    32: ("cifar", 2_000, 8),
    224: ("imagenet", 40, 1),
}
WHOLE = 10_000  # test images of CIFAR-10
OURS, ORACLE, PACKAGE = "ruggedize, one core", "oracle, one core", "imagecorruptions, one core"
PAIRS: tuple[Pair, ...] = ((OURS, ORACLE, ()), (OURS, PACKAGE, ("imagecorruptions",)))
COMPILE = """
import time, torch
from ruggedize.corruptions import CORRUPTIONS, corrupt
images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
started = time.perf_counter()
for name in CORRUPTIONS:
    corrupt(images, name, 1)
print(time.perf_counter() - started)
"""


def measure(rounds: int) -> dict[str, Content]:
    """Measure both sizes, all of CIFAR-10-C, and the first compilation."""
    chosen_names(generated_suite(pictures(32, 1)), None)  # raises if photographs are missing
    found = {}
    for size, (preset, num_images, num_peer) in SIZES.items():
        content = begun(rounds, ("imagecorruptions",))
        content |= {"preset": preset, "cores": available_cores(), "imagecorruptions fails": {}}
        side_by_side(content, pictures(size, num_images), num_peer)
        if size == 32:
            content["seconds"] = whole_suite(rounds) | compilation(COMPILE)
            content["microseconds an image, by their number"] = by_number()
        found[f"corruptions--{size}px"] = content
    return found


def side_by_side(content: Content, images: torch.Tensor, num_peer: int) -> None:
    """Time every corruption at all severities, ours and the peers' in turn."""
    preset: Preset = content["preset"]
    for name in CORRUPTIONS:
        works: dict[str, Callable[[], int]] = {
            "ruggedize": partial(ours, images, name, preset),
            OURS: on_one_core(partial(ours, images, name, preset)),
            ORACLE: on_one_core(partial(peer, images[:num_peer], name, preset)),
        }
        if preset == "imagenet" and content["peers"]["imagecorruptions"] != "missing":
            work = on_one_core(partial(package, images[:num_peer], name))
            if failure := failure_of(work):
                content["imagecorruptions fails"][name] = failure
            else:
                works[PACKAGE] = work
        contestants = {contestant: timed(work) for contestant, work in works.items()}
        add_group(content, name, interleaved(contestants, content["rounds"]), PAIRS)


def ours(images: torch.Tensor, name: str, preset: Preset) -> int:
    """Corrupt at all severities on the cores that this process may use."""
    for severity in SEVERITIES:
        corrupt(images, name, severity, preset=preset)
    return len(SEVERITIES) * len(images)


def peer(images: torch.Tensor, name: str, preset: Preset) -> int:
    """Corrupt image by image with the tests' oracle."""
    rng = np.random.RandomState(0)
    for level in getattr(CORRUPTIONS[name], preset):
        for image in images:
            ORACLES[name](image.permute(1, 2, 0).numpy(), level, rng)
    return len(SEVERITIES) * len(images)


def package(images: torch.Tensor, name: str) -> int:
    """Corrupt image by image with `imagecorruptions`."""
    from imagecorruptions import corrupt as theirs  # pyright: ignore[reportMissingImports]

    for severity in SEVERITIES:
        for image in images:
            pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
            theirs(pixels, corruption_name=name, severity=severity)
    return len(SEVERITIES) * len(images)


def failure_of(work: Callable[[], int]) -> str | None:
    """Return why `imagecorruptions` can no longer do a corruption, if so."""
    try:
        work()
    except (TypeError, AttributeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:100]
    return None


def whole_suite(rounds: int) -> dict[str, Any]:
    """Time all of CIFAR-10-C: 19 corruptions, five severities, 10,000 images."""
    images = pictures(32, WHOLE)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in CORRUPTIONS:
            started = time.perf_counter()
            ours(images, name, "cifar")
            seconds.setdefault(name, []).append(time.perf_counter() - started)
    totals = [sum(round_) for round_ in zip(*seconds.values(), strict=True)]
    low, median, high = quartiles(totals)
    return {
        "all of CIFAR-10-C": round(median, 2),
        "its quartiles": [round(low, 2), round(high, 2)],
        "of which": {name: round(quartiles(all_)[1], 3) for name, all_ in seconds.items()},
    }


def by_number() -> dict[int, float]:
    """Return the mean cost of an image over all corruptions at severity 3, for sets of any size."""
    found = {}
    for n in (1_000, 10_000, 50_000):
        images = pictures(32, n)
        started = time.perf_counter()
        for name in CORRUPTIONS:
            corrupt(images, name, 3)
        found[n] = round(1e6 * (time.perf_counter() - started) / (n * len(CORRUPTIONS)), 2)
    return found


if __name__ == "__main__":
    compare({"corruptions": measure})
