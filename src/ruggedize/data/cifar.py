"""CIFAR-10 and CIFAR-100 from the official binary files; nothing is ever unpickled.

Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html ("Binary version").
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ruggedize.core.errors import UserError
from ruggedize.core.reading import read_bytes
from ruggedize.data.image_set import ImageSet
from ruggedize.data.root import VARIABLE, data_root

SIZE = 32
NUM_PIXEL_BYTES = 3 * SIZE * SIZE


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The file layout of one data set: each record consists of label bytes, then planar RGB."""

    name: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    num_train: int  # images per training file
    num_test: int
    num_classes: int
    num_label_bytes: int  # the last byte is the class
    classes_file: str
    classes: tuple[str, ...] | None = None  # used if `classes_file` is missing

    @property
    def record(self) -> int:
        """The number of bytes of one image with its labels."""
        return self.num_label_bytes + NUM_PIXEL_BYTES


CIFAR10 = Layout(
    name="cifar10",
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test=("test_batch.bin",),
    num_train=10_000,
    num_test=10_000,
    num_classes=10,
    num_label_bytes=1,
    classes_file="batches.meta.txt",
    classes=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
)
CIFAR100 = Layout(
    name="cifar100",
    folder="cifar-100-binary",
    train=("train.bin",),
    test=("test.bin",),
    num_train=50_000,
    num_test=10_000,
    num_classes=100,
    num_label_bytes=2,  # the coarse class, then the fine one
    classes_file="fine_label_names.txt",
)


def load_cifar(
    layout: Layout, root: str | os.PathLike[str] | None = None
) -> tuple[ImageSet, ImageSet]:
    """Load the training and the test images in their official order, each with index 0..n-1.

    Raises:
        UserError: a file is missing or is not the official one.
    """
    folder = find_folder(layout, root)
    if folder is None:
        raise missing(layout, root)
    classes = read_classes(layout, folder)
    train = read_files(layout, [folder / name for name in layout.train], layout.num_train, classes)
    test = read_files(layout, [folder / name for name in layout.test], layout.num_test, classes)
    return train, test


def find_folder(layout: Layout, root: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder of .bin files: `root` or its official subfolder; None if not found."""
    top = data_root(root)
    for folder in (top / layout.folder, top):
        if any((folder / name).exists() for name in (*layout.train, *layout.test)):
            return folder
    return None


def missing(layout: Layout, root: str | os.PathLike[str] | None) -> UserError:
    """Build the error for data that was not found, with both ways to get it."""
    root_option = f" --data-root {root}" if root else ""
    return UserError(
        f"{layout.name} (binary version) is not in {data_root(root)};\n"
        f"download it with `ruggedize fetch {layout.name}{root_option}`, or set its folder with "
        f"--data-root DIR or {VARIABLE}=DIR"
    )


def read_files(
    layout: Layout, paths: list[Path], num_records: int, classes: tuple[str, ...]
) -> ImageSet:
    """Read the files in order, checking the size and the labels of each."""
    images = np.empty((len(paths) * num_records, 3, SIZE, SIZE), np.uint8)
    labels = np.empty(len(images), np.int64)
    for number, path in enumerate(paths):
        check_size(layout, path, num_records)
        records = np.fromfile(path, np.uint8).reshape(num_records, layout.record)
        rows = slice(number * num_records, (number + 1) * num_records)
        labels[rows] = records[:, layout.num_label_bytes - 1]
        images[rows] = records[:, layout.num_label_bytes :].reshape(-1, 3, SIZE, SIZE)
        if labels[rows].max() >= layout.num_classes:
            raise UserError(
                f"{path}: labels of {layout.name} must be in 0..{layout.num_classes - 1}, got "
                f"{labels[rows].max()}, so this is another file;\n{cure(layout, path)}"
            )
    return ImageSet(
        torch.from_numpy(images), torch.from_numpy(labels), classes, torch.arange(len(images))
    )


def check_size(layout: Layout, path: Path, num_records: int) -> None:
    """Raise UserError if a file is missing or has the wrong size."""
    expected = num_records * layout.record
    if not path.is_file():
        raise UserError(f"{path} is missing;\n{cure(layout, path)}")
    if path.stat().st_size != expected:
        raise UserError(
            f"{path} must have {expected:,} bytes, got {path.stat().st_size:,};\n"
            f"{cure(layout, path)}"
        )


def cure(layout: Layout, path: Path) -> str:
    """Return advice on how to replace a bad file."""
    return (
        f"replace that file, or move {path.parent} away and run `ruggedize fetch {layout.name} "
        f"--data-root {path.parent.parent}`"
    )


def read_classes(layout: Layout, folder: Path) -> tuple[str, ...]:
    """Read the class names; if their file is missing, use the layout's names if it has any."""
    path = folder / layout.classes_file
    if not path.is_file() and layout.classes is not None:
        return layout.classes
    if not path.is_file():
        raise UserError(f"{path} (the class names) is missing;\n{cure(layout, path)}")
    text = read_bytes(path).decode("utf-8", "replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) != layout.num_classes:
        raise UserError(
            f"{path} must list {layout.num_classes} classes, got {len(names)};\n"
            f"{cure(layout, path)}"
        )
    return names
