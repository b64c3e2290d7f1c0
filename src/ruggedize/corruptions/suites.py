"""Suites: where an assessment's corrupted images come from."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from ruggedize.corruptions.corrupting import Preset, check_frost, corrupt, resolve_preset
from ruggedize.corruptions.names import ALL, Frost
from ruggedize.corruptions.photographs import check_photographs, frost_folder
from ruggedize.images.types import Images, ImageSource, Labels
from ruggedize.runs import UserError


class Unpaired(NamedTuple):
    """What must be known of a suite whose images are not, one by one, the data's test images."""

    labels: Labels
    reason: str


@runtime_checkable
class Suite(Protocol):
    """Gives the corrupted images of any cell, block by block, at their stored size."""

    @property
    def name(self) -> str:
        """Say what kind of suite it is, for the assessment."""
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
        """Say where the images come from: the facts to be kept with every figure."""
        ...

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Give the images start..stop of one cell."""
        ...


@dataclass(frozen=True)
class GeneratedSuite:
    """Corrupts the data's own images when they are asked for; nothing is stored."""

    clean: ImageSource
    seed: int
    preset: Preset
    frost: Frost
    name: str = "generated"
    unpaired: Unpaired | None = None

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that this suite can give, in the order of the paper."""
        return ALL

    def describe(self) -> dict[str, str]:
        """Say where the images come from."""
        height, width = self.clean.shape[2:]
        size = f"{height}x{width}"
        return {
            "preset": self.preset,
            "seed": str(self.seed),
            "size": size,
            "frost": self.frost,
        }

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Give the images start..stop of one cell: the same pixels however they are cut."""
        check_range(start, stop, len(self.clean))
        own = {"seed": self.seed, "preset": self.preset, "frost": self.frost}
        return corrupt(self.clean[start:stop], corruption, severity, start=start, **own)


def generated_suite(
    images: ImageSource,
    *,
    seed: int = 0,
    preset: Preset | Literal["auto"] = "auto",
    frost: Frost = "photographs",
) -> GeneratedSuite:
    """Make a suite of a data set's own images; the other options are those of `corrupt`."""
    check_frost(frost)
    height, width = images.shape[2:]
    return GeneratedSuite(images, seed, resolve_preset(preset, height, width), frost)


def check_range(start: int, stop: int, num_images: int) -> None:
    """Refuse images that a suite does not have."""
    if not 0 <= start <= stop <= num_images:
        raise ValueError(f"0 <= start <= stop <= {num_images}, got {start} and {stop}")


def chosen_names(suite: Suite, wanted: tuple[str, ...] | None) -> list[str]:
    """Give the corruptions that are wanted (None: all) in the suite's order.

    Raises:
        UserError: the suite has not all of them, or the photographs of its frost are not there.
    """
    if lacking := [name for name in wanted or () if name not in suite.corruptions]:
        raise UserError(
            f"the suite {suite.name} has no corruption {', '.join(lacking)};\n"
            f"it has {', '.join(suite.corruptions)}"
        )
    chosen = [name for name in suite.corruptions if wanted is None or name in wanted]
    if "frost" in chosen and isinstance(suite, GeneratedSuite) and suite.frost == "photographs":
        check_photographs(frost_folder())
    return chosen
