"""The number of images of a data set, counted without decoding any. Does not import torch."""

from typing import NamedTuple

from ruggedize.data.file_list import FileList
from ruggedize.data.layout import (
    PARTS,
    TEST_SHARE,
    list_classes,
    part_folders,
    reject_without_train,
    stepped_into,
)
from ruggedize.data.location import is_place, place_of
from ruggedize.data.options import DataOptions
from ruggedize.data.tables import is_table, read_table

BUILT_IN_SIZES = {"digits": (1297, 500, 10), "cifar10": (50000, 10000, 10)} | {
    "cifar100": (50000, 10000, 100)
}  # images to train on and to test on, classes


class SetSize(NamedTuple):
    """Images of a data set; images without a split are divided as loading divides them, roughly."""

    classes: dict[str, int]  # images to train and to validate on, by class
    num_test: int
    has_validation: bool  # whether the validation images are given, and not held out of `classes`

    @property
    def num_images(self) -> int:
        """Images to train on, and to validate on if they are held out of these."""
        return sum(self.classes.values())


def count_images(options: DataOptions) -> SetSize | None:
    """Return the size of a data set; None if it does not exist, or is one of Hugging Face's.

    Raises:
        UserError: a folder or table has no classes, no training images, or an invalid layout.
    """
    if options.name in BUILT_IN_SIZES:
        return built_in_size(options)
    if not is_place(options.name):
        return None
    path = place_of(options)
    if path.is_file() and is_table(path):
        parts = read_table(path, 0.1)
        counts = {part: lengths(found) for part, found in parts.items()}
        return divided_size(counts["train"], counts)
    if not path.is_dir():
        return None
    root = stepped_into(path)
    folders = part_folders(root)
    if not folders:
        return divided_size(lengths(list_classes(root)), {})
    reject_without_train(root, folders)
    counts = {
        part: lengths(list_classes(stepped_into(folder), may_be_empty=part != "train"))
        for part, folder in folders.items()
        if part in PARTS
    }
    return divided_size(counts["train"], counts)


def lengths(files: dict[str, FileList]) -> dict[str, int]:
    """Return the number of files of each class."""
    return {name: len(found) for name, found in files.items()}


def divided_size(train: dict[str, int], parts: dict[str, dict[str, int]]) -> SetSize:
    """Return the size of a set, a fifth of which is held out for testing unless there is a test."""
    if "test" in parts:
        return SetSize(train, sum(parts["test"].values()), "validation" in parts)
    kept = {name: round((1 - TEST_SHARE) * number) for name, number in train.items()}
    num_test = sum(train.values()) - sum(kept.values())
    return SetSize(kept, num_test, "validation" in parts)


def built_in_size(options: DataOptions) -> SetSize | None:
    """Return the size of a built-in data set, or None if it has not been fetched."""
    from ruggedize.data.cifar import CIFAR10, CIFAR100, find_folder  # imports torch

    layouts = {layout.name: layout for layout in (CIFAR10, CIFAR100)}
    if options.name in layouts and find_folder(layouts[options.name], options.root) is None:
        return None
    num_train, num_test, num_classes = BUILT_IN_SIZES[options.name]
    return SetSize(
        {str(number): num_train // num_classes for number in range(num_classes)}, num_test, False
    )
