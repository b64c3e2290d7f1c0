"""Suites of image files in the layout of ImageNet-C: CORRUPTION/SEVERITY/CLASS/*."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ruggedize.core.errors import UserError
from ruggedize.corruptions.catalogue import CORRUPTIONS
from ruggedize.corruptions.names import SEVERITIES
from ruggedize.corruptions.suites import Positions, Unpaired, check_positions, range_of
from ruggedize.data import ImageSet, composed, decode_image, list_classes
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.types import Images, Labels

NUM_NAMED = 8  # names that a message lists
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassFolderSuite:
    """A suite that decodes images on access; only file names are kept in memory."""

    folder: Path
    corruptions: tuple[str, ...]
    files: tuple[str, ...]  # CLASS/FILE, sorted; the same in every cell
    image_size: int
    coverage: str
    severities: tuple[int, ...] = SEVERITIES  # severities that were checked
    unpaired: Unpaired | None = None

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    def describe(self) -> dict[str, str]:
        """Return where the images come from."""
        size = f"{self.image_size}x{self.image_size}"
        return {"layout": "ImageNet-C", "size": size, "classes": self.coverage}

    def images(self, corruption: str, severity: int, start: int, stop: int) -> Images:
        """Return images start..stop-1 of one cell: the central squares, resized."""
        return self.images_at(corruption, severity, range_of(start, stop, len(self.files)))

    def images_at(self, corruption: str, severity: int, positions: Positions) -> Images:
        """Return the images of one cell at these positions, in this order."""
        check_positions(positions, len(self.files))
        cell = self.folder / corruption / str(severity)
        paths = [cell / self.files[position] for position in positions.tolist()]
        images = np.empty((len(paths), 3, self.image_size, self.image_size), np.uint8)

        def decode(first: int, last: int) -> None:
            for i in range(first, last):
                images[i] = decode_image(paths[i], self.image_size).numpy()

        run_blocks(decode, len(paths), smallest=1)
        return torch.from_numpy(images)


def open_class_folders(
    folder: Path, image_set: ImageSet, severities: tuple[int, ...] = SEVERITIES
) -> tuple[ClassFolderSuite, Labels]:
    """Open a suite and return it with its labels; all its cells must have the same files.

    Raises:
        UserError: a severity or a file is missing, or the data lacks one of the classes.
    """
    corruptions = tuple(name for name in CORRUPTIONS if (folder / name).is_dir())
    warn_of_strays(folder, corruptions)
    first = files_of(folder / corruptions[0] / str(severities[0]))
    spelled = {composed(name): name for name in image_set.classes}

    def in_data(file: str) -> str:  # suites may have the names in another Unicode normal form
        name = file.partition("/")[0]
        return spelled.get(composed(name), name)

    first.sort(key=in_data)  # stable
    classes = list(map(in_data, first))
    if unknown := sorted(set(classes) - set(image_set.classes)):
        reject_deeper(folder / corruptions[0] / str(severities[0]), unknown, image_set.classes)
        raise UserError(
            f"{folder} has classes that the data lacks: {', '.join(unknown[:3])}"
            f"{', ...' if len(unknown) > 3 else ''};\n"
            "use data with the same classes, or remove those folders"
        )
    for name in corruptions:
        for severity in severities:
            check_cell(folder / name / str(severity), set(first))
    if missing := [name for name in image_set.classes if name not in set(classes)]:
        log.warning(
            "%s has no images of some classes (%d): %s", folder, len(missing), shortened(missing)
        )
    numbers = {name: number for number, name in enumerate(image_set.classes)}
    suite = ClassFolderSuite(
        folder=folder,
        corruptions=corruptions,
        files=tuple(first),
        image_size=image_set.images.shape[-1],
        coverage=f"{len(set(classes))} of {len(image_set.classes)}",
        severities=severities,
    )
    return suite, torch.tensor([numbers[name] for name in classes])


def warn_of_strays(folder: Path, corruptions: tuple[str, ...]) -> None:
    """Log a warning about files and folders that are ignored."""
    places = {folder: set(corruptions)} | {
        folder / name: {str(severity) for severity in SEVERITIES} for name in corruptions
    }
    strays = [
        path.relative_to(folder).as_posix()
        for place, known in places.items()
        for path in sorted(place.iterdir())
        if path.name not in known and not path.name.startswith(".")
    ]
    if strays:
        log.warning(
            "%s: names that are neither a corruption nor a severity are ignored: %s",
            *(folder, shortened(strays)),
        )


def reject_deeper(cell: Path, unknown: list[str], classes: tuple[str, ...]) -> None:
    """Raise UserError if the class folders are a level too deep."""
    for name in unknown:
        if any((cell / name / label).is_dir() for label in classes):
            raise UserError(
                f"the class folders are a level too deep, in {cell / name};\n"
                f"move its content to {cell}, and likewise for the other severities"
            )


def shortened(names: list[str]) -> str:
    """Return the first few names and how many more there are."""
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(names[:NUM_NAMED]) + more


def files_of(cell: Path) -> list[str]:
    """Return the image files of a cell, class by class; raise UserError if it is missing."""
    if not cell.is_dir():
        present = [str(s) for s in SEVERITIES if (cell.parent / str(s)).is_dir()]
        found = f"it has {', '.join(present)}" if present else "it has no severity"
        select = f" or select the existing ones with --severities {','.join(present)}"
        raise UserError(
            f"{cell} is missing: every corruption needs all assessed severities, and {found};\n"
            f"add it, remove {cell.parent},{select if present else ' or choose another folder'}"
        )
    classes = list_classes(cell)
    return [path.relative_to(cell).as_posix() for paths in classes.values() for path in paths]


def check_cell(cell: Path, files: set[str]) -> None:
    """Raise UserError if a cell does not have the same files as the first cell."""
    found = set(files_of(cell))
    if found == files:
        return
    missing, extra = files - found, found - files
    example = min(missing or extra)
    absent = {file.partition("/")[0] for file in files} - {f.partition("/")[0] for f in found}
    if absent:
        raise UserError(
            f"{cell} lacks classes that the first cell has: {shortened(sorted(absent))};\n"
            f"add them, or remove {cell.parent}"
        )
    raise UserError(
        f"{cell} must have the same files as the first cell, got {len(missing)} missing and "
        f"{len(extra)} extra ones, such as {example};\ncorrect this, or remove {cell.parent}"
    )
