"""Suites: where an assessment's corrupted images come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from ruggedize.core.errors import UserError
from ruggedize.corruptions.catalogue import CORRUPTIONS
from ruggedize.corruptions.corrupting import Preset, corrupt_indexed, resolve_preset
from ruggedize.corruptions.corruption import Corruption
from ruggedize.corruptions.names import nearest, unknown
from ruggedize.corruptions.options import complete_options
from ruggedize.kernels.types import Images, ImageSource, Labels

Positions = Int64[Tensor, " n"]  # places in a data set or suite


class Unpaired(NamedTuple):
    """What must be known of a suite whose images are not, one by one, the data's test images."""

    labels: Labels
    reason: str


@runtime_checkable
class Suite(Protocol):
    """Gives the corrupted images of any cell, block by block, at their stored size."""

    @property
    def name(self) -> str:
        """Describe what kind of suite it is, for the assessment."""
        ...

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that this suite can give."""
        ...

    @property
    def unpaired(self) -> Unpaired | None:
        """None where image i of every cell is test image i; else the labels, and why it is not."""
        ...

    def describe(self) -> dict[str, str]:
        """Return where the images come from: the facts to be kept with every figure."""
        ...

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Return the images start..stop of one cell."""
        ...

    def images_at(self, corruption: str, severity: int, positions: Positions) -> Images:
        """Return the images at these positions of one cell, in this order."""
        ...


@dataclass(frozen=True)
class GeneratedSuite:
    """Corrupts the data's own images when they are asked for; nothing is stored."""

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
        """The corruptions of this suite: the published ones in the paper's order, then others."""
        return tuple(self.rows)

    def describe(self) -> dict[str, str]:
        """Return where the images come from."""
        height, width = self.clean.shape[2:]
        facts = {"preset": self.preset, "seed": str(self.seed), "size": f"{height}x{width}"}
        for name, options in self.options.items():
            facts |= {f"{name}.{option}": value for option, value in options.items()}
        extra = [row for name, row in self.rows.items() if name not in CORRUPTIONS]
        own = ", ".join(f"{row.name} {row.levels(self.preset)}" for row in extra)
        return facts | ({"own corruptions": own} if own else {})

    def check(self, corruptions: Sequence[str]) -> None:
        """Raise a UserError if something is missing that one of these corruptions needs."""
        for name in corruptions:
            if check := self.rows[name].check:
                check(self.options.get(name, {}))

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Return the images start..stop of one cell: the same pixels however they are cut."""
        return self.images_at(corruption, severity, range_of(start, stop, len(self.clean)))

    def images_at(self, corruption: str, severity: int, positions: Positions) -> Images:
        """Return the images at these positions of one cell: the same pixels in any selection."""
        check_positions(positions, len(self.clean))
        if corruption not in self.rows:
            raise ValueError(unknown(corruption, self.rows))
        options = self.options.get(corruption, {})
        own = {"seed": self.seed, "preset": self.preset, "options": options}
        images, row = self.clean_at(positions), self.rows[corruption]
        return corrupt_indexed(images, positions.numpy(), row, severity, **own)

    def clean_at(self, positions: Positions) -> Images:
        """Return clean images; the latest selection is kept, as every cell asks for the same."""
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
    """Return a suite of a data set's own images, corrupted when they are asked for.

    Args:
        images: the clean images, as stored.
        seed: another seed gives other noise.
        preset: whose constants, as for `corrupt`.
        options: of corruptions, by name: `{"frost": {"textures": "procedural"}}`.
        extra: corruptions of your own, after the published nineteen. No summary over the
            published ones counts them.

    Raises:
        ValueError: an unknown corruption, option or value, or a name that is there twice.
    """
    rows = dict(CORRUPTIONS)
    for row in extra:
        if row.name in rows:
            raise ValueError(f"there are two corruptions {row.name}; name yours differently")
        rows[row.name] = row
    chosen = complete_options(options or {}, {name: row.options for name, row in rows.items()})
    height, width = images.shape[2:]
    return GeneratedSuite(images, seed, resolve_preset(preset, height, width), rows, chosen)


def range_of(start: int, stop: int, num_images: int) -> Positions:
    """Return the positions start..stop.

    Raises:
        ValueError: a suite of this many images does not have them.
    """
    if not 0 <= start <= stop <= num_images:
        raise ValueError(f"0 <= start <= stop <= {num_images}, got {start} and {stop}")
    return torch.arange(start, stop)


def check_positions(positions: Positions, num_images: int) -> None:
    """Raise a ValueError for positions that a suite of this many images does not have."""
    if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < num_images:
        raise ValueError(
            f"positions must be in 0..{num_images - 1}, got {int(positions.min())}.."
            f"{int(positions.max())}"
        )


def is_range(positions: Positions) -> bool:
    """Return whether each position follows the one before, as in a slice."""
    return len(positions) > 0 and bool((positions.diff() == 1).all())


def chosen_names(suite: Suite, wanted: tuple[str, ...] | None) -> list[str]:
    """Return the corruptions that are wanted (None: all) in the suite's order.

    Raises:
        UserError: the suite lacks one of them, or something is missing that one of them needs.
    """
    if lacking := [name for name in wanted or () if name not in suite.corruptions]:
        raise UserError(
            f"the suite {suite.name} has no corruption {', '.join(lacking)};\n"
            f"{nearest(lacking[0], suite.corruptions)}"
        )
    chosen = [name for name in suite.corruptions if wanted is None or name in wanted]
    if isinstance(suite, GeneratedSuite):
        suite.check(chosen)
    return chosen
