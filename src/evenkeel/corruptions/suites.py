"""Suites: where an assessment's corrupted images come from."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from evenkeel.corruptions.catalogue import CORRUPTIONS
from evenkeel.corruptions.corrupting import Preset, check_frost, corrupt, resolve_preset
from evenkeel.corruptions.names import ALL, Frost
from evenkeel.images.types import Images


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

    def describe(self) -> dict[str, str]:
        """Say where the images come from: the facts to be kept with every figure."""
        ...

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Give the images start..stop of one cell."""
        ...


@dataclass(frozen=True)
class GeneratedSuite:
    """Corrupts the data's own images when they are asked for; nothing is stored."""

    clean: Images
    seed: int
    preset: Preset
    frost: Frost
    name: str = "generated"

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that this suite can give, in the order of the paper."""
        return tuple(name for name in ALL if name in CORRUPTIONS)

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
        if not 0 <= start <= stop <= len(self.clean):
            raise ValueError(f"0 <= start <= stop <= {len(self.clean)}, got {start} and {stop}")
        own = {"seed": self.seed, "preset": self.preset, "frost": self.frost}
        return corrupt(self.clean[start:stop], corruption, severity, start=start, **own)


def generated_suite(
    images: Images,
    *,
    seed: int = 0,
    preset: Preset | Literal["auto"] = "auto",
    frost: Frost = "photographs",
) -> GeneratedSuite:
    """Make a suite of a data set's own images; the other options are those of `corrupt`."""
    check_frost(frost)
    height, width = images.shape[2:]
    return GeneratedSuite(images, seed, resolve_preset(preset, height, width), frost)
