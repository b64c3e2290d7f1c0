"""What a corruption is: a row of the table, or an object of one's own."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ruggedize.corruptions.names import SEVERITIES

Level = float | tuple[float, ...]
TAKEN = ("clean", "labels")  # the name of a cell, and of a file beside the corruptions'


def level_alone(level: Level, height: int, width: int) -> tuple[Level]:
    """Prepare a kernel that takes the level as it is."""
    return (level,)


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A corruption: its levels, its options and its kernel.

    `kernel(images, out, *prepare(level, height, width, **options))` fills `out`; both are a block
    of images, uint8 `[n, 3, h, w]` in NumPy. A random one also takes its stream and the images'
    indices, int64 `[n]`: `seeding.image_generator(stream, index)` draws for one image. Blocks run
    in several threads.

    Args:
        name: small letters, digits and underscores; random values belong to it.
        cifar: what severities 1-5 mean, for small images.
        imagenet: the same for photographs; default: as for small images.
        kernel: what is done to a block.
        prepare: what the kernel takes, from a level and a size; default: the level alone.
        random: whether the kernel draws random values.
        options: the values that each option may have; the first is the default.
        check: raises a UserError if something is missing that the corruption needs with these
            options; called before any work.
        family: what it resembles.
        group: the published set that it belongs to.
        source: the code that it follows.
    """

    name: str
    cifar: tuple[Level, ...]
    """What severities 1-5 mean for small images: the constants of the CIFAR-10-C script."""
    imagenet: tuple[Level, ...] = ()
    """What severities 1-5 mean for photographs: the constants of the ImageNet-C script."""
    kernel: Callable[..., None]
    prepare: Callable[..., tuple[object, ...]] = level_alone
    random: bool = False
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    check: Callable[[Mapping[str, str]], None] | None = None
    family: Literal["noise", "blur", "weather", "digital", "own"] = "own"
    group: Literal["benchmark15", "extra4", "own"] = "own"
    source: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name) or self.name in TAKEN:
            raise ValueError(
                f"a corruption's name has small letters, digits and _, and is none of "
                f"{', '.join(TAKEN)}; got {self.name!r}"
            )
        for preset, levels in (("cifar", self.cifar), ("imagenet", self.imagenet or self.cifar)):
            if len(levels) != len(SEVERITIES):
                raise ValueError(
                    f"{self.name}: {preset} must hold {len(SEVERITIES)} levels, got {len(levels)}"
                )
        if empty := [option for option, values in self.options.items() if not values]:
            raise ValueError(f"{self.name}.{empty[0]} has no values; give its default at least")

    def levels(self, preset: Literal["cifar", "imagenet"]) -> tuple[Level, ...]:
        """Return what severities 1-5 mean under a preset."""
        return (self.imagenet or self.cifar) if preset == "imagenet" else self.cifar
