"""RandAugment, every image its own operations: ours, timm and torchvision on the same images."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import torch
from PIL import Image

from benchmarks.pictures import pictures
from benchmarks.record import interleaved, write
from evenkeel import randaugment

SIZES = {32: 2_000, 72: 1_000}  # side in pixels: images a round
FASTER = 10  # ours gets as many times more images, so that a round is long enough to be timed


def main() -> None:
    """Measure at both sizes; a peer that is not installed is named as missing."""
    found = {}
    for size, num_images in SIZES.items():
        images = pictures(size, num_images)
        many = images.repeat(FASTER, 1, 1, 1)
        contestants: dict[str, Callable[[], int]] = {
            f"evenkeel {semantics}": lambda many=many, s=semantics: ours(many, s)
            for semantics in ("tf", "timm", "torchvision")
        }
        contestants |= peers(images)
        found[f"{size} px"] = interleaved(contestants)
    missing = [name for name in ("timm", "torchvision") if find_spec(name) is None]
    path = write("randaugment", {"threads": torch.get_num_threads(), "missing": missing} | found)
    print(path)  # noqa: T201


def ours(images: torch.Tensor, semantics: str) -> int:
    """Augment on all cores."""
    randaugment(images, seed=0, semantics=semantics)
    return len(images)


def peers(images: torch.Tensor) -> dict[str, Callable[[], int]]:
    """Give the peers that are installed; each works on one PIL image at a time, on one core."""
    pil = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    found: dict[str, Callable[[], int]] = {}
    if find_spec("torchvision") and find_spec("timm"):
        name_missing_operators()
        from timm.data.auto_augment import rand_augment_transform
        from torchvision.transforms import v2

        for name, transform in {
            "timm rand-m9-n2 (PIL, one core)": rand_augment_transform("rand-m9-n2", {}),
            "torchvision v2 (PIL, one core)": v2.RandAugment(2, 9),
        }.items():
            found[name] = lambda transform=transform: len([transform(image) for image in pil])
    return found


@cache
def name_missing_operators() -> torch.library.Library:
    """Let torchvision be imported beside a torch that lacks its compiled operators."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor d, Tensor s, float t) -> Tensor")
    return library  # a definition lives as long as its library: kept by the cache


if __name__ == "__main__":
    main()
