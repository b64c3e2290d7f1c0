"""A suite from files in the layout of CIFAR-10-C, read from disk block by block.

Source: Hendrycks & Dietterich 2019: `CORRUPTION.npy`, uint8 `[5 n, h, w, 3]`, the n images of
severity 1 first, and `labels.npy`; Zenodo's records 2535967 (CIFAR-10-C) and 3555552 (CIFAR-100-C).
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ruggedize.core.errors import UserError
from ruggedize.corruptions.manifest import read_manifest
from ruggedize.corruptions.names import ALL, SEVERITIES
from ruggedize.corruptions.suites import Positions, Unpaired, check_positions, range_of
from ruggedize.data import ImageSet
from ruggedize.kernels.types import Images, Labels

LABELS = "labels.npy"
CURE = "fetch or write the suite again, to another folder"


@dataclass(frozen=True)
class ArraySuite:
    """Reads each block when it is asked for; nothing stays in memory."""

    folder: Path
    corruptions: tuple[str, ...]
    num_images: int
    facts: dict[str, str] = field(default_factory=dict)
    unpaired: Unpaired | None = None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    def describe(self) -> dict[str, str]:
        """Return where the images come from."""
        return {"layout": "CIFAR-10-C", **self.facts}

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Return the images start..stop of one cell."""
        return self.images_at(corruption, severity, range_of(start, stop, self.num_images))

    def images_at(self, corruption: str, severity: int, positions: Positions) -> Images:
        """Return the images at these positions of one cell, in this order."""
        check_positions(positions, self.num_images)
        rows = (severity - 1) * self.num_images + positions.numpy()
        stored = mapped(self.folder / f"{corruption}.npy")[rows]
        return torch.from_numpy(np.ascontiguousarray(stored.transpose(0, 3, 1, 2)))


def open_arrays(folder: Path, image_set: ImageSet) -> tuple[ArraySuite, Labels]:
    """Check the files against each other and against the data; give the suite and its labels.

    Raises:
        UserError: a file is missing, damaged, of another shape or another set of classes.
    """
    labels = read_labels(folder, image_set.classes)
    files = sorted(path.stem for path in folder.glob("*.npy") if path.name != LABELS)
    corruptions = tuple(name for name in ALL if name in files)
    if strangers := [name for name in files if name not in ALL]:
        log = logging.getLogger(__name__)
        log.warning("%s: not among the nineteen, ignored: %s", folder, ", ".join(strangers))
    if not corruptions:
        raise UserError(
            f"{folder} holds none of the nineteen corruptions, e.g. {ALL[0]}.npy; {CURE}"
        )
    height, width = image_set.images.shape[2:]
    for name in corruptions:
        check_array(folder / f"{name}.npy", len(labels), (height, width))
    return ArraySuite(folder, corruptions, len(labels), facts_of(folder, image_set)), labels


def read_labels(folder: Path, classes: tuple[str, ...]) -> Labels:
    """Read the labels of one severity's images; those of all severities must be equal."""
    path = folder / LABELS
    if not path.is_file():
        raise UserError(f"{folder} holds no {LABELS}, without which nothing can be counted; {CURE}")
    stored = mapped(path)
    kind = f"{stored.dtype} {list(stored.shape)}"
    if stored.ndim != 1 or stored.dtype.kind not in "iu":
        raise UserError(f"{path} must hold one whole number an image, got {kind}; {CURE}")
    if len(stored) == 0 or len(stored) % len(SEVERITIES):
        raise UserError(f"{path} must hold the labels five times, got {kind}; {CURE}")
    parts = stored.astype(np.int64).reshape(len(SEVERITIES), -1)
    if (parts != parts[0]).any():
        raise UserError(f"{path}: the labels of the five severities differ; {CURE}")
    if parts.min() < 0 or parts.max() >= len(classes):
        raise UserError(
            f"{path} holds labels {parts.min()}..{parts.max()}, the data has the classes "
            f"0..{len(classes) - 1};\nassess on the suite that was made of the same classes"
        )
    return torch.from_numpy(parts[0].copy())


def check_array(path: Path, num_images: int, size: tuple[int, int]) -> None:
    """Reject a file that does not hold what its name and the labels promise."""
    stored, wanted = mapped(path), (len(SEVERITIES) * num_images, *size, 3)
    if stored.dtype == np.uint8 and stored.shape == wanted:
        return
    found = f"{path} holds {stored.dtype} {list(stored.shape)}, not uint8 {list(wanted)}"
    other_size = stored.shape[1:3] != size and stored.shape[::3] == wanted[::3]
    cure = "assess with models of images of that size" if other_size else CURE
    raise UserError(f"{found};\n{cure}")


def facts_of(folder: Path, image_set: ImageSet) -> dict[str, str]:
    """Return what a manifest of ours records; files from elsewhere have none."""
    manifest = read_manifest(folder)
    if manifest is None:
        height, width = image_set.images.shape[2:]
        return {"size": f"{height}x{width}"}
    if manifest.classes != image_set.classes:
        raise UserError(
            f"{folder} was made of {len(manifest.classes)} classes "
            f"({', '.join(manifest.classes[:3])}, ...), the data has {len(image_set.classes)} "
            f"({', '.join(image_set.classes[:3])}, ...);\n"
            "assess on the suite that was made of the same classes"
        )
    return manifest.suite | {"made by": f"ruggedize {manifest.ruggedize}"}


def mapped(path: Path) -> np.ndarray:
    """Open a `.npy` file without reading it; nothing in it is ever unpickled."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise UserError(f"{path} is not a whole .npy file of numbers ({error}); {CURE}") from None
