"""Test images for assessing a model that was trained elsewhere."""

import logging
from typing import NamedTuple

from ruggedize.core.errors import UserError, shown
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.digest import WHOLE_FOLDER, DataDigest, folder_digest
from ruggedize.data.folder import read_parts
from ruggedize.data.image_set import ImageSet
from ruggedize.data.layout import (
    list_classes,
    part_folders,
    stepped_into,
    with_spelling_of_train,
)
from ruggedize.data.load import load_splits
from ruggedize.data.location import BUILT_IN, PREFIX, place_of
from ruggedize.data.options import DataOptions

DEFAULT_SIZE = 224  # pixels, as in ImageNet-C

log = logging.getLogger(__name__)


class TestImages(NamedTuple):
    """Labelled images to assess on, the digest that identifies them, and skipped files."""

    images: ImageSet
    digest: DataDigest | None
    left_out: tuple[str, ...]


def has_only_test_images(options: DataOptions) -> bool:
    """Return whether the data is a folder with splits, none of which is for training."""
    path = place_of(options)
    if options.name in BUILT_IN or options.name.startswith(PREFIX) or not path.is_dir():
        return False
    folders = part_folders(stepped_into(path))
    return bool(folders) and "train" not in folders


def load_test_images(options: DataOptions, progress: Progress = no_progress) -> TestImages:
    """Load the images on which a model that was trained elsewhere is assessed.

    In a folder these are the images of `test/CLASS/*`; without `test/`, those of `val/CLASS/*` (the
    layout of ImageNet); without both, all images of `CLASS/*`. Training images are not read. If a
    folder has only `train/`, or if the data is a built-in or Hugging Face data set, they are the
    test images of a run.

    Args:
        options: the data; the images of a folder are resized to `image_size`, by default 224.
        progress: called as `progress(task, done, total)` while images are decoded.

    Raises:
        UserError: the folder is missing or has no classes, or a file is damaged.
    """
    path = place_of(options)
    if options.name in BUILT_IN or options.name.startswith(PREFIX) or not path.is_dir():
        return of_a_run(options, progress)
    sized = options.model_copy(update={"image_size": options.image_size or DEFAULT_SIZE})
    root = stepped_into(path)
    folders = part_folders(root)
    part = next((name for name in ("test", "validation") if name in folders), None)
    if part is None and folders:
        return of_a_run(sized, progress)
    folder = stepped_into(folders[part]) if part else root
    if part == "validation":
        log.warning(
            "%s has no folder test: the images of %s are assessed instead",
            *(shown(path), shown(folder.name)),
        )
    parts = {part or WHOLE_FOLDER: list_classes(folder)}
    if "train" in folders:
        trained = list_classes(stepped_into(folders["train"]), may_be_empty=True)
        parts = with_spelling_of_train({"train": trained, **parts})
    classes = tuple(sorted({name for found in parts.values() for name in found}))
    parts.pop("train", None)
    if len(classes) < 2:
        raise UserError(
            f"{shown(folder)} must have at least two classes, got only {''.join(classes)};\n"
            "put the images of each class in its own folder"
        )
    images = read_parts(path, parts, classes, sized, progress)[part or WHOLE_FOLDER]
    return TestImages(images, folder_digest(path, parts), images.left_out)


def of_a_run(options: DataOptions, progress: Progress) -> TestImages:
    """Load the images that a run would be tested on."""
    data = load_splits(options, progress=progress)
    return TestImages(data.test, data.digest, data.left_out)
