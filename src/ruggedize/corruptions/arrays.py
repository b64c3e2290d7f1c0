"""Suites of `.npy` files in the layout of CIFAR-10-C, read from disk block by block.

Source: Hendrycks & Dietterich 2019: `CORRUPTION.npy`, uint8 `[5 n, h, w, 3]`, with the n images of
severity 1 first, and `labels.npy`; Zenodo records 2535967 (CIFAR-10-C) and 3555552 (CIFAR-100-C).
"""

import logging
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import check_regular
from ruggedize.corruptions.catalogue import CORRUPTIONS
from ruggedize.corruptions.manifest import read_manifest
from ruggedize.corruptions.names import ALL, SEVERITIES
from ruggedize.corruptions.suites import Positions, Unpaired, check_positions, range_of
from ruggedize.data import ImageSet
from ruggedize.kernels.types import Images, Labels

LABELS = "labels.npy"
UNREADABLE = (  # errors that NumPy raises on damaged headers
    *(ValueError, OverflowError, TypeError, MemoryError, SyntaxError, EOFError),
    *(tokenize.TokenError, RecursionError),
)
CURE = "download or export the suite again, into another folder"


@dataclass(frozen=True)
class ArraySuite:
    """A suite that reads images from disk on access, without a cache."""

    folder: Path
    corruptions: tuple[str, ...]
    num_images: int
    severities: tuple[int, ...] = SEVERITIES
    facts: dict[str, str] = field(default_factory=dict)
    unpaired: Unpaired | None = None

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    def describe(self) -> dict[str, str]:
        """Return where the images come from."""
        return {"layout": "CIFAR-10-C", **self.facts}

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Return images start..stop-1 of one cell."""
        return self.images_at(corruption, severity, range_of(start, stop, self.num_images))

    def images_at(self, corruption: str, severity: int, positions: Positions) -> Images:
        """Return the images of one cell at these positions, in this order."""
        check_positions(positions, self.num_images)
        rows = self.severities.index(severity) * self.num_images + positions.numpy()
        stored = mapped(self.folder / f"{corruption}.npy")[rows]
        return torch.from_numpy(np.ascontiguousarray(stored.transpose(0, 3, 1, 2)))


def open_arrays(
    folder: Path, image_set: ImageSet, wanted: tuple[int, ...] = SEVERITIES
) -> tuple[ArraySuite, Labels]:
    """Check the files and open the suite; return it with its labels.

    If the files contain the images of a single severity, it is taken to be the wanted one.

    Raises:
        UserError: a file is missing or damaged, its shape or classes do not match the data, or it
            is unclear which severities the files contain.
    """
    stored = stored_labels(folder / LABELS)
    files = sorted(path.stem for path in folder.glob("*.npy") if path.name != LABELS)
    corruptions = tuple(name for name in CORRUPTIONS if name in files)
    if unknown := [name for name in files if name not in CORRUPTIONS]:
        log = logging.getLogger(__name__)
        names = ", ".join(map(shown, unknown))
        log.warning("%s: files that are not published corruptions are ignored: %s", folder, names)
    if not corruptions:
        raise UserError(
            f"{folder} has none of the nineteen corruptions, such as {ALL[0]}.npy;\n{CURE}"
        )
    height, width = image_set.images.shape[2:]
    num_rows = (*mapped(folder / f"{corruptions[0]}.npy").shape, 0)[0]
    if len(stored) > len(SEVERITIES) * num_rows:
        raise UserError(
            f"{folder / LABELS} has {len(stored):,} labels for {num_rows:,} images;\n{CURE}"
        )
    every = checked_labels(folder / LABELS, stored, image_set.classes)
    severities, labels = by_severity(folder / LABELS, every, num_rows, wanted, len(image_set))
    for name in corruptions:
        check_array(folder / f"{name}.npy", len(severities) * len(labels), (height, width))
    facts = facts_of(folder, image_set)
    if severities != SEVERITIES:
        facts |= {"severities": str(severities[0])}
    return ArraySuite(folder, corruptions, len(labels), severities, facts), labels


def by_severity(
    path: Path, every: np.ndarray, num_rows: int, wanted: tuple[int, ...], num_images: int
) -> tuple[tuple[int, ...], Labels]:
    """Return the severities that the arrays contain, and the labels of one severity.

    Raises:
        UserError: the labels do not repeat five times, or it is unclear which single severity the
            arrays contain.
    """
    parts = every.reshape(len(SEVERITIES), -1) if len(every) % len(SEVERITIES) == 0 else None
    is_one = len(every) == num_rows == num_images  # even if its labels happen to repeat
    repeats = parts is not None and not is_one and bool((parts == parts[0]).all())
    if parts is not None and repeats and num_rows != len(parts[0]):
        return SEVERITIES, torch.from_numpy(parts[0].copy())
    if num_rows != (len(every) // len(SEVERITIES) if repeats else num_images):
        fault = (
            "the labels of the five severities differ"
            if parts is not None
            else (f"must repeat the labels five times, got {len(every)}")
        )
        raise UserError(f"{path}: {fault};\n{CURE}")
    if len(wanted) > 1:
        raise UserError(
            f"{path.parent} has {num_rows} images per corruption, those of a single severity;\n"
            "say which, for example with --severities 5 (assess.severities = [5])"
        )
    labels = parts[0] if repeats and parts is not None else every
    return wanted, torch.from_numpy(labels.copy())


def stored_labels(path: Path) -> np.ndarray:
    """Memory-map the labels of all rows and check their shape without reading the values.

    A sparse file can be huge, so its length is compared with the arrays before it is read.
    """
    if not path.exists():
        raise UserError(f"{path.parent} has no {LABELS}, which is required;\n{CURE}")
    stored = mapped(path)
    kind = f"{stored.dtype} {list(stored.shape)}"
    if stored.ndim != 1 or stored.dtype.kind not in "iu":
        raise UserError(f"{path} must be a vector of integers, got {kind};\n{CURE}")
    if len(stored) == 0:
        raise UserError(f"{path} has no labels;\n{CURE}")
    return stored


def checked_labels(path: Path, stored: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Return the labels of all rows, int64 `[m]`; raise UserError if one is not a class."""
    every = stored.astype(np.int64)
    lowest, highest = every.min(), every.max()
    if lowest < 0 or highest >= len(classes):
        raise UserError(
            f"{path}: labels must be in 0..{len(classes) - 1}, the classes of the data, got "
            f"{lowest}..{highest};\nuse a suite with the same classes as the data"
        )
    return every


def check_array(path: Path, num_rows: int, size: tuple[int, int]) -> None:
    """Raise UserError if an array has an unexpected dtype or shape."""
    stored, expected = mapped(path), (num_rows, *size, 3)
    if stored.dtype == np.uint8 and stored.shape == expected:
        return
    fault = f"{path} must be uint8 {list(expected)}, got {stored.dtype} {list(stored.shape)}"
    other_size = stored.shape[1:3] != size and stored.shape[::3] == expected[::3]
    cure = "use models and data with the image size of the suite" if other_size else CURE
    raise UserError(f"{fault};\n{cure}")


def facts_of(folder: Path, image_set: ImageSet) -> dict[str, str]:
    """Return the facts in the manifest; without a manifest, only the image size."""
    manifest = read_manifest(folder)
    if manifest is None:
        height, width = image_set.images.shape[2:]
        return {"size": f"{height}x{width}"}
    if manifest.classes != image_set.classes:
        raise UserError(
            f"{folder} was generated from data with {len(manifest.classes)} classes "
            f"({', '.join(manifest.classes[:3])}, ...), but the data has {len(image_set.classes)} "
            f"({', '.join(image_set.classes[:3])}, ...);\n"
            "use a suite with the same classes as the data"
        )
    return manifest.suite | {"made by": f"ruggedize {manifest.ruggedize}"}


def mapped(path: Path) -> np.ndarray:
    """Memory-map a `.npy` file; pickled arrays are rejected."""
    check_regular(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except UNREADABLE as error:
        raise UserError(
            f"{path} is not a complete .npy file of numbers ({shown(str(error))});\n{CURE}"
        ) from None
