"""A suite of image files in the layout of ImageNet-C: CORRUPTION/SEVERITY/CLASS/*."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ruggedize.core.errors import UserError
from ruggedize.corruptions.catalogue import CORRUPTIONS
from ruggedize.corruptions.names import SEVERITIES
from ruggedize.corruptions.suites import Positions, Unpaired, check_positions, range_of
from ruggedize.data import ImageSet, decode_image, list_classes
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.types import Images, Labels


@dataclass(frozen=True)
class ClassFolderSuite:
    """A suite that decodes images on access; only file names are kept in memory."""

    folder: Path
    corruptions: tuple[str, ...]
    files: tuple[str, ...]  # CLASS/FILE, sorted; the same in every cell
    image_size: int
    coverage: str
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
        """Return the images start..stop of one cell: the central square, resized."""
        return self.images_at(corruption, severity, range_of(start, stop, len(self.files)))

    def images_at(self, corruption: str, severity: int, positions: Positions) -> Images:
        """Return the images at these positions of one cell, in this order."""
        check_positions(positions, len(self.files))
        cell = self.folder / corruption / str(severity)
        paths = [cell / self.files[position] for position in positions.tolist()]
        images = np.empty((len(paths), 3, self.image_size, self.image_size), np.uint8)

        def decode(first: int, last: int) -> None:
            for i in range(first, last):
                images[i] = decode_image(paths[i], self.image_size).numpy()

        run_blocks(decode, len(paths), smallest=1)
        return torch.from_numpy(images)


def open_class_folders(folder: Path, image_set: ImageSet) -> tuple[ClassFolderSuite, Labels]:
    """Check that every cell has the same files and open the suite; return it with its labels.

    Raises:
        UserError: a severity or a file is missing, or the data does not have one of the classes.
    """
    corruptions = tuple(name for name in CORRUPTIONS if (folder / name).is_dir())
    first = files_of(folder / corruptions[0] / str(SEVERITIES[0]))
    classes = [file.partition("/")[0] for file in first]
    if unknown := sorted(set(classes) - set(image_set.classes)):
        raise UserError(
            f"{folder} has classes that the data does not have: {', '.join(unknown[:3])}"
            f"{', ...' if len(unknown) > 3 else ''};\n"
            "use data with the same classes, or remove those folders"
        )
    for name in corruptions:
        for severity in SEVERITIES:
            check_cell(folder / name / str(severity), first)
    numbers = {name: number for number, name in enumerate(image_set.classes)}
    suite = ClassFolderSuite(
        folder=folder,
        corruptions=corruptions,
        files=tuple(first),
        image_size=image_set.images.shape[-1],
        coverage=f"{len(set(classes))} of {len(image_set.classes)}",
    )
    return suite, torch.tensor([numbers[name] for name in classes])


def files_of(cell: Path) -> list[str]:
    """Return the image files of a cell, class by class."""
    if not cell.is_dir():
        raise UserError(
            f"{cell} is missing; every corruption needs all five severities;\n"
            f"add it, or remove {cell.parent}"
        )
    classes = list_classes(cell)
    return [path.relative_to(cell).as_posix() for paths in classes.values() for path in paths]


def check_cell(cell: Path, files: list[str]) -> None:
    """Raise a UserError if a cell does not have the same files as the first cell."""
    found = files_of(cell)
    if found == files:
        return
    missing, extra = set(files) - set(found), set(found) - set(files)
    example = min(missing or extra)
    raise UserError(
        f"{cell} does not have the same files as the first cell: {len(missing)} missing, "
        f"{len(extra)} extra, e.g. {example};\ncorrect it, or remove {cell.parent}"
    )
