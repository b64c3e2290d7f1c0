"""The `Corruption` class, for published and for user-defined corruptions."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ruggedize.corruptions.names import SEVERITIES

Level = float | tuple[float, ...]
Preset = Literal["cifar", "imagenet", "scaled"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
CIFAR_SIDE = 32  # pixels; image size for which the CIFAR-10-C script chose its constants
TAKEN = ("clean", "labels")  # reserved for the clean cell and for labels.npy in a suite


def level_alone(level: Level, height: int, width: int) -> tuple[Level]:
    """Return the level as the only kernel argument; the default of `prepare`."""
    return (level,)


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A corruption, with its levels, options and kernel.

    `kernel(images, out, *prepare(level, height, width, **options))` writes to `out`. `images` and
    `out` are blocks of images: NumPy uint8 `[n, 3, h, w]`. A random kernel also receives its stream
    and the image indices, int64 `[n]`; `seeding.image_generator(stream, index)` returns the random
    generator for one image. Blocks run in several threads.

    Args:
        name: lower-case letters, digits and underscores; random values depend on it.
        cifar: the levels of severities 1-5 for small images.
        imagenet: the levels for larger images; default: the same as `cifar`.
        scaled: `scaled(level, factor)` returns the `cifar` level for images whose shorter side is
            `factor` times 32 pixels; default: the level does not change.
        kernel: function that corrupts a block of images.
        prepare: function that returns the kernel's arguments; default: only the level.
        random: whether the kernel draws random values.
        options: the allowed values of each option; the first is the default.
        check: called with the options before any work; must raise UserError if a file that the
            corruption needs is missing.
        family: the kind of corruption.
        group: the published set that it belongs to.
        source: the reference implementation.
    """

    name: str
    cifar: tuple[Level, ...]
    """The levels of severities 1-5 for small images: the constants of the CIFAR-10-C script."""
    imagenet: tuple[Level, ...] = ()
    """The levels of severities 1-5 for larger images: the constants of the ImageNet-C script."""
    scaled: Callable[..., Level] | None = None
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
                f"the name of a corruption must have only lower-case letters, digits and _, and "
                f"must not be {' or '.join(TAKEN)}, got {self.name!r};\nuse another name"
            )
        for preset, levels in (("cifar", self.cifar), ("imagenet", self.imagenet or self.cifar)):
            if len(levels) != len(SEVERITIES):
                raise ValueError(
                    f"{self.name}: {preset} must have {len(SEVERITIES)} levels, got "
                    f"{len(levels)};\nset one level per severity"
                )
        if empty := [option for option, values in self.options.items() if not values]:
            raise ValueError(
                f"option {self.name}.{empty[0]} must have values, got none;\n"
                "list at least its default"
            )

    def levels(self, preset: Preset, side: int = CIFAR_SIDE) -> tuple[Level, ...]:
        """Return a preset's levels of severities 1-5 for images whose shorter side is `side`.

        Only the preset `scaled` depends on the side.
        """
        return tuple(self.level(preset, severity, side) for severity in SEVERITIES)

    def level(self, preset: Preset, severity: int, side: int) -> Level:
        """Return a preset's level of one severity; see `levels`."""
        levels = (self.imagenet or self.cifar) if preset == "imagenet" else self.cifar
        level = levels[severity - 1]
        if preset == "scaled" and self.scaled and side != CIFAR_SIDE:
            return self.scaled(level, side / CIFAR_SIDE)
        return level
