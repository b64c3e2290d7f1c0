"""Suites, the sources of corrupted images for assessments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from ruggedize.core.errors import UserError
from ruggedize.corruptions.catalogue import CORRUPTIONS
from ruggedize.corruptions.corrupting import corrupt_indexed, resolve_preset
from ruggedize.corruptions.corruption import CIFAR_SIDE, Corruption, Preset
from ruggedize.corruptions.names import ALL, nearest, unknown
from ruggedize.corruptions.options import complete_options
from ruggedize.kernels.types import Images, ImageSource, Labels

LENGTHS = "lengths"  # key of a note in the description of a suite
Positions = Int64[Tensor, " n"]  # of images in a data set or suite


class Unpaired(NamedTuple):
    """The labels of a suite whose image i is not test image i, and the reason for that."""

    labels: Labels
    reason: str


@runtime_checkable
class Suite(Protocol):
    """A source of corrupted images at their stored size, by cell (corruption x severity)."""

    @property
    def name(self) -> str:
        """The name of the suite, as recorded in the assessment."""
        ...

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that this suite has."""
        ...

    @property
    def unpaired(self) -> Unpaired | None:
        """None if image i of every cell is test image i; otherwise the labels and the reason."""
        ...

    def describe(self) -> dict[str, str]:
        """Return where the images come from, to be recorded with every result."""
        ...

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Return images start..stop-1 of one cell."""
        ...

    def images_at(self, corruption: str, severity: int, positions: Positions) -> Images:
        """Return the images of one cell at these positions, in this order."""
        ...


@dataclass(frozen=True)
class GeneratedSuite:
    """A suite that corrupts the images of a data set on access and stores nothing."""

    clean: ImageSource
    seed: int
    preset: Preset
    rows: Mapping[str, Corruption]
    options: Mapping[str, Mapping[str, str]]
    name: str = "generated"
    unpaired: Unpaired | None = None
    latest: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The published corruptions in the order of the paper, then custom ones."""
        return tuple(self.rows)

    def describe(self) -> dict[str, str]:
        """Return where the images come from."""
        height, width = self.clean.shape[2:]
        side = min(height, width)
        facts = {"preset": self.preset, "seed": str(self.seed), "size": f"{height}x{width}"}
        facts |= lengths_of(self.preset, side)
        for name, options in self.options.items():
            facts |= {f"{name}.{option}": value for option, value in options.items()}
        extra = [row for name, row in self.rows.items() if name not in ALL]
        custom = ", ".join(f"{row.name} {row.levels(self.preset, side)}" for row in extra)
        return facts | ({"own corruptions": custom} if custom else {})

    def check(self, corruptions: Sequence[str]) -> None:
        """Raise UserError if a file that one of these corruptions needs is missing."""
        for name in corruptions:
            if check := self.rows[name].check:
                check(self.options.get(name, {}))

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Return images start..stop-1 of one cell, whose pixels do not depend on the range."""
        return self.images_at(corruption, severity, range_of(start, stop, len(self.clean)))

    def images_at(self, corruption: str, severity: int, positions: Positions) -> Images:
        """Return the images of one cell at these positions; pixels do not depend on the others."""
        check_positions(positions, len(self.clean))
        if corruption not in self.rows:
            raise ValueError(unknown(corruption, self.rows))
        options = self.options.get(corruption, {})
        settings = {"seed": self.seed, "preset": self.preset, "options": options}
        images, row = self.clean_at(positions), self.rows[corruption]
        return corrupt_indexed(images, positions.numpy(), row, severity, **settings)

    def clean_at(self, positions: Positions) -> Images:
        """Return clean images; the latest selection is cached, because all cells share it."""
        if is_range(positions):
            return self.clean[int(positions[0]) : int(positions[-1]) + 1]
        if not (self.latest and torch.equal(self.latest[0], positions)):
            self.latest[:] = positions.clone(), self.clean[positions]
        return self.latest[1]


def generated_suite(
    images: ImageSource,
    *,
    seed: int = 0,
    preset: Preset | Literal["auto"] = "auto",
    options: Mapping[str, Mapping[str, str]] | None = None,
    extra: Sequence[Corruption] = (),
) -> GeneratedSuite:
    """Build a suite that corrupts the images of a data set on access.

    Args:
        images: the clean images, as stored.
        seed: seed of the random values.
        preset: which constants to use, as for `corrupt`.
        options: options by corruption: `{"frost": {"textures": "procedural"}}`.
        extra: further corruptions, added after the published nineteen and not included in their
            summaries.

    Raises:
        ValueError: a corruption, option or value is unknown, or a name exists twice.
    """
    rows = {name: CORRUPTIONS[name] for name in ALL}
    for row in extra:
        if row.name in rows:
            raise ValueError(f"a corruption {row.name} already exists;\nchoose another name")
        rows[row.name] = row
    complete = complete_options(options or {}, {name: row.options for name, row in rows.items()})
    height, width = images.shape[2:]
    return GeneratedSuite(images, seed, resolve_preset(preset, height, width), rows, complete)


def further_corruptions(names: Sequence[str] | None) -> list[Corruption]:
    """Return the named corruptions that are in the catalogue but not published."""
    return [CORRUPTIONS[name] for name in names or () if name in CORRUPTIONS and name not in ALL]


def lengths_of(preset: Preset, side: int) -> dict[str, str]:
    """Return a note on a preset's lengths, unless they are meant for images of this side."""
    if preset == "scaled":
        return {LENGTHS: f"scaled from {CIFAR_SIDE} to {side} pixels"}
    if preset == "cifar" and side > CIFAR_SIDE:
        weaker = f"meant for {CIFAR_SIDE} pixels: blurs are weaker at {side}"
        return {LENGTHS: f"{weaker}; the preset scaled scales them"}
    return {}


def range_of(start: int, stop: int, num_images: int) -> Positions:
    """Return the positions start..stop-1.

    Raises:
        ValueError: the range exceeds the number of images.
    """
    if not 0 <= start <= stop <= num_images:
        raise ValueError(
            f"start and stop must satisfy 0 <= start <= stop <= {num_images}, got {start} and "
            f"{stop};\nuse a range within the images"
        )
    return torch.arange(start, stop)


def check_positions(positions: Positions, num_images: int) -> None:
    """Raise ValueError if a position is out of range."""
    if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < num_images:
        raise ValueError(
            f"positions must be in 0..{num_images - 1}, got {int(positions.min())}.."
            f"{int(positions.max())};\nuse positions of existing images"
        )


def is_range(positions: Positions) -> bool:
    """Return whether the positions are consecutive."""
    return len(positions) > 0 and bool((positions.diff() == 1).all())


def chosen_names(suite: Suite, wanted: tuple[str, ...] | None) -> list[str]:
    """Return the wanted corruptions (None for all), in the order of the suite.

    Raises:
        UserError: the suite lacks one of them, or a file that one of them needs is missing.
    """
    if missing := [name for name in wanted or () if name not in suite.corruptions]:
        raise UserError(
            f"the suite {suite.name} has no corruption {', '.join(missing)};\n"
            f"{nearest(missing[0], suite.corruptions)}"
        )
    chosen = [name for name in suite.corruptions if wanted is None or name in wanted]
    if isinstance(suite, GeneratedSuite):
        suite.check(chosen)
    return chosen
